"""Texts that attack what shows them: they want to run, to deceive, to crash the page or to take for ever."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.acts import VENDOR, until_true
from tests.browser.test_modules import render

pytestmark = VENDOR

SCHEMES = [
    "javascript:x", "JAVASCRIPT:x", "java\tscript:x", "java%0ascript:x", "&#106;avascript:x", "javascript&colon;x",
    "\u0001javascript:x", " javascript:x", "<javascript:x>", "<java script:x>", "data:text/html,x", "vbscript:x",
    "blob:http://x.y/z", "file:///etc/passwd", "//x.y/z", "/z", "z", "#z", "?z", "http:", "https://", "http:///", "http://[",
    "view-source:http://x.y", "ftp://x.y/z", "feed:javascript:x", "\\javascript:x", "httpx://y", "mailto",
]  # fmt: skip


class TestLinks:
    @pytest.mark.parametrize("form", ["[a]({})", "![a]({})", "[a](<{}>)", '[a]({} "t")', "<{}>", "[a][b]\n\n[b]: {}"])
    def test_only_the_web_and_mail(self, modules: Any, form: str) -> None:
        box = render(modules, "\n\n".join(form.format(target) for target in SCHEMES))
        found = box.locator("a").evaluate_all("all => all.map((a) => new URL(a.href).protocol)")
        assert set(found) <= {"http:", "https:"}
        assert box.locator("img, iframe, [src], [srcset], [style]").count() == 0

    @pytest.mark.parametrize("text", ["[a](http://b.c)", "<http://b.c>", "http://b.c", "![a](http://b.c/d.png)"])
    def test_links_open_apart_and_tell_nothing(self, modules: Any, text: str) -> None:
        link = render(modules, text).locator("a")
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert link.get_attribute("target") == "_blank"

    def test_what_turns_text_stays_within_and_is_seen(self, modules: Any) -> None:
        text = "`a\u202eb` [c\u2067d](http://e.f) ![g\u202dh](http://e.f)\n\n```js\nlet i; /* \u202e } \u2066 */\n```"
        box = render(modules, text)
        until_true(modules, "Boolean(document.querySelector('#probe .hljs-comment'))")
        assert box.locator(".turn").count() == 4  # a link's own text is a paragraph's, isolated as a whole
        assert box.locator("pre code").evaluate("c => c.textContent") == "let i; /* \u202e } \u2066 */"
        box.evaluate("box => (box.className = 'body')")
        assert box.locator("a").first.evaluate("a => getComputedStyle(a).unicodeBidi") == "isolate"


class TestFormulas:
    @pytest.mark.parametrize(
        "tex",
        [
            "\\def\\a{" + "x" * 900 + "}" + "\\a" * 190,
            "\\gdef\\a{\\a\\a}\\a",
            "\\newcommand{\\a}{" + "x" * 900 + "}" + "\\a" * 190,
            "\\let\\a=\\frac" + "\\a" * 100,
            "x" * 2001,
        ],
    )
    def test_bombs_stay_as_they_were_written(self, modules: Any, tex: str) -> None:
        box = render(modules, f"$$\n{tex}\n$$\n\n$y$")
        until_true(modules, "Boolean(document.querySelector('#probe .katex'))")
        assert box.locator(".math").first.evaluate("m => m.textContent") == f"$$\n{tex}\n$$"
        assert box.locator(".katex").count() == 1

    @pytest.mark.parametrize(
        "tex",
        ["{" * 990 + "}" * 990, "\\frac{1}{" * 200 + "x" + "}" * 200, "\\sqrt{" * 280 + "x" + "}" * 280,
         "x^{" * 480 + "x" + "}" * 480, "\\left(" * 150 + "x" + "\\right)" * 150, "x" + "\u0301" * 1900,
         "\\frac1" * 300 + "x", "\\begin{matrix}" * 60 + "a" + "\\end{matrix}" * 60,
         "\\rule{99999em}{99999em}", "\\kern99999em x"],
    )  # fmt: skip
    def test_deep_and_large_ones_are_shown_or_left(self, modules: Any, tex: str) -> None:
        box = render(modules, f"$$\n{tex}\n$$\n\n$y$")
        until_true(modules, "Boolean(document.querySelector('#probe .math:not(.block) .katex'))")
        assert box.locator(".math.block").evaluate("m => m.getBoundingClientRect().height") < 5000

    def test_commands_that_reach_out_do_not(self, modules: Any) -> None:
        commands = [
            "\\href{javascript:x}{y}", "\\url{http://x.y}", "\\includegraphics{http://x.y/z.png}", "\\htmlId{key}{x}",
            "\\htmlClass{toast}{x}", "\\htmlStyle{position:fixed}{x}", "\\htmlData{action=new}{x}",
            "\\textcolor{url(http://x.y)}{z}", "\\color{red;background:url(http://x.y)}z",
        ]  # fmt: skip
        box = render(modules, "\n\n".join(f"${tex}$" for tex in [*commands, "y"]))
        until_true(modules, "Boolean(document.querySelector('#probe > :last-child .katex'))")
        assert box.locator("a, img, #key, .toast, [data-action], [style*=url], [style*=fixed]").count() == 0


class TestCode:
    # squared: a clock that only colouring moves on, by the square of the length
    COLOURED = """async ([language, text, squared]) => {
        const { hljs } = await import("./vendor/highlight.js");
        const { codeFrame, codeIn } = await import("./code.js");
        const { highlight } = hljs;
        const sizes = [];
        let clock = 0;
        if (squared) performance.now = () => clock;
        hljs.highlight = (code, ...more) => {
            sizes.push(code.length);
            clock += (code.length / 1000) ** 2;
            return highlight.call(hljs, code, ...more);
        };
        const frame = codeFrame(language);
        document.body.append(frame);
        for (let n = 0; n < text.length; n += 2500) codeIn(frame).update(text.slice(0, n));
        codeIn(frame).update(text);
        codeIn(frame).finish();
        for (let seen = -1; seen < sizes.length;) {
            seen = sizes.length;
            await new Promise((resolve) => setTimeout(resolve, 150));
        }
        hljs.highlight = highlight;
        delete performance.now;
        frame.remove();
        const code = frame.querySelector("code");
        return [code.textContent === text, Math.max(0, ...sizes), code.querySelectorAll("span").length];
    }"""

    def test_long_code_is_coloured_in_pieces(self, modules: Any) -> None:
        text = "".join(f"def f{i}(x):\n    return '{i}'\n\n" for i in range(400))
        assert modules.evaluate(self.COLOURED, ["python", text]) == [True, 1000, 2000]

    def test_a_comment_longer_than_a_piece(self, modules: Any) -> None:
        text = "/*\n" + "long\n" * 400 + "*/\nlet x = 1;\n"
        assert modules.evaluate(self.COLOURED, ["js", text])[0::2] == [True, 3]

    @pytest.mark.parametrize("language", ["java", "csharp", "ini", "constructor", "__proto__"])
    @pytest.mark.parametrize("piece", ["a", "a\n", "/*"])
    def test_what_takes_the_square_of_its_length_stays_plain(self, modules: Any, language: str, piece: str) -> None:
        whole, longest, _ = modules.evaluate(self.COLOURED, [language, piece * (10_000 // len(piece)), True])
        assert whole and longest <= 8_000


TEXTS = {
    "quotes": ">" * 20_000, "quotes by words": "> " * 20_000, "a long text of an item": "- a\n" + "b\n" * 5_000,
    "a long text of a quote": "> a\n" + "b\n" * 5_000,
    "deep lists": "\n".join("  " * i + "- a" for i in range(300)),
    "a line of bars": "|" * 30_000, "a ragged table": "a|b\n-|-\n" + "x\n" * 2_500, "underlines": "-\n" * 5_000,
    "floods of ticks": "".join("`" * i + " " for i in range(1, 250)), "emphasis": "*_" * 12_000 + "a",
    "brackets": "[" * 20_000 + "]" * 20_000, "half a mail": "a." * 12_000 + "@", "spaces": "a" + " " * 30_000 + "b",
    "notes": "[^1]" * 4000 + "\n\n" + "[^1]: a\n" * 4000, "many dots": "http://a" + "." * 30_000,
}  # fmt: skip


class TestTime:
    @pytest.mark.parametrize("name", TEXTS)
    def test_growing(self, modules: Any, name: str) -> None:
        """Whatever a model streams, the page follows: the nodes are in the end what the whole text gives at once."""
        assert modules.evaluate(
            """async (text) => {
                const { Markdown } = await import("./markdown.js");
                const [grown, once] = [document.createElement("div"), document.createElement("div")];
                const growing = new Markdown(grown);
                for (let n = 0; n < text.length; n += 2500) growing.update(text.slice(0, n), false);
                growing.update(text);
                new Markdown(once).update(text);
                return grown.isEqualNode(once);
            }""",
            TEXTS[name],
        )
