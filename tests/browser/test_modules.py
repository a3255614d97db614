"""The page's modules by themselves: markdown, and the reader of event streams."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.acts import VENDOR, until_true


def render(page: Any, text: str) -> Any:
    """The markdown of a text, in a box of its own."""
    page.evaluate(
        """async (text) => {
            const { Markdown } = await import("./markdown.js");
            document.querySelector("#probe")?.remove();
            const box = document.createElement("div");
            box.id = "probe";
            document.body.append(box);
            new Markdown(box).update(text);
        }""",
        text,
    )
    return page.locator("#probe")


@VENDOR
class TestMarkdown:
    @pytest.mark.parametrize(
        ("source", "html"),
        [
            ("**b** *c* __d__ ~~e~~", "<p><strong>b</strong> <em>c</em> <strong>d</strong> <del>e</del></p>"),
            ("***x*** **a *b***", "<p><em><strong>x</strong></em> <strong>a <em>b</em></strong></p>"),
            ("snake_case_name 2 * 3 * 4 **open", "<p>snake_case_name 2 * 3 * 4 **open</p>"),
            ("`a**b**` ``c`d`` \\*e\\*", "<p><code>a**b**</code> <code>c`d</code> *e*</p>"),
            ("one\ntwo<br>three", "<p>one<br>two<br>three</p>"),
            ("# T\ntext\n## U ##", "<h3>T</h3><p>text</p><h4>U</h4>"),
            ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
            ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
            ("- a\n  - b\n\n- c", "<ul><li><p>a</p><ul><li><p>b</p></li></ul></li><li><p>c</p></li></ul>"),
            ("3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
            ("- a\n1. b", "<ul><li><p>a</p></li></ul><ol><li><p>b</p></li></ol>"),
            ("1. a\n\n   more\n\nout", "<ol><li><p>a</p><p>more</p></li></ol><p>out</p>"),
            ("![alt](http://x.y/z.png)", '<p><a href="http://x.y/z.png">alt</a></p>'),
            ("[a](javascript:alert(1)) [b](data:x)", "<p>[a](javascript:alert(1)) [b](data:x)</p>"),
            ("(see http://x.y/a_(b)).", '<p>(see <a href="http://x.y/a_(b)">http://x.y/a_(b)</a>).</p>'),
            ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
            ("|a|b|\n|-|:-:|\n|1\\|2|**3**|", '<table><thead><tr><th>a</th><th class="center">b</th></tr></thead>'
             '<tbody><tr><td>1|2</td><td class="center"><strong>3</strong></td></tr></tbody></table>'),
            ("- [ ] a\n- [x] *b*\n- [c](http://d.e)", '<ul><li class="task"><p>☐ a</p></li>'
             '<li class="task"><p>☑ <em>b</em></p></li><li><p><a href="http://d.e">c</a></p></li></ul>'),
            ("- [ ] a\n\n- [x] b", '<ul><li class="task"><p>☐ a</p></li><li class="task"><p>☑ b</p></li></ul>'),
            ("[*a*](mailto:b@c.d) <http://e.f>", '<p><a href="mailto:b@c.d"><em>a</em></a> '
             '<a href="http://e.f">http://e.f</a></p>'),
            ("a [b]\n\n[b]: http://c.d", '<p>a [b]</p><p>[b]: <a href="http://c.d">http://c.d</a></p>'),
            ("<div>\n**a** <!-- b -->", "<p>&lt;div&gt;<br><strong>a</strong> &lt;!-- b --&gt;</p>"),
            ("A\n=\n\nB\n-", "<h3>A</h3><h4>B</h4>"),
            ("2 &#42; 3 \\< 4 ", "<p>2 * 3 &lt; 4 </p>"),
        ],
    )  # fmt: skip
    def test_renders(self, modules: Any, source: str, html: str) -> None:
        found = re.sub(r' (dir|rel|target|tabindex)="[^"]*"', "", render(modules, source).inner_html())
        assert re.sub(r'</?div( class="table")?>', "", found) == html

    def test_code_is_verbatim(self, modules: Any) -> None:
        code = "if a < b:\n\tprint('**no**')\n\n# not a title"
        box = render(modules, f"1. see\n\n   ```py\n   x\n   ```\n\n~~~make\n{code}\n~~~\n\n```\nunclosed")
        assert box.locator("pre code").evaluate_all("c => c.map(c => c.textContent)") == ["x", code, "unclosed"]
        assert box.locator(".code-head span").all_inner_texts() == ["py", "make", "code"]

    def test_formulas(self, modules: Any) -> None:
        text = r"""$a_1*b$ costs $5 or $6, \(c_2\) and $$d$$, `$e$`, \$f$, a$g$

$$
h < i

\[
- j
\]
- \[ k \] l
$$ m $$
n"""
        render(modules, text)
        until_true(modules, "!document.querySelector('#probe .math:not(:has(annotation))')")
        found = modules.locator("#probe annotation").all_text_contents()
        assert found == ["a_1*b", "c_2", "d", "\n- j\n", " k ", " m "]

    def test_every_prefix_grows_into_the_whole(self, modules: Any) -> None:
        """Streaming ends in the same nodes as rendering at once, and finished blocks are not made anew."""
        text = (
            "# A\n\npara *x*\n- one\n  - two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            "```js\nlet a;\n\nb\n```\n> q\n> - r\ns\n\n"
            "a|b\n- | -\nc\n***\nd\n$$\n- e\n$$\nf\n$$\ng\n===\n\n"
            "<think>h\n\ni</think>j\n1. k\n\n   l\r\n- [ ] m\n\n$n$ [o](http://p.q) z"
        )
        assert modules.evaluate(
            """async (text) => {
                const { Markdown } = await import("./markdown.js");
                const [grown, once] = [document.createElement("div"), document.createElement("div")];
                const growing = new Markdown(grown);
                let first;
                for (let n = 1; n <= text.length; n++) {
                    growing.update(text.slice(0, n));
                    if (n === 6) first = grown.firstChild;
                }
                new Markdown(once).update(text);
                return grown.isEqualNode(once) && grown.firstChild === first;
            }""",
            text,
        )

    @pytest.mark.parametrize(
        "piece",
        ["**a ", "*a _b ", "`", "[a](", "> ", "- " * 3, "| a ", "~~", "```\n", "#  ", "http://", "\\", "_a", ">", "[",
         "*", "a", " ", "!", "(_a) ", "1$", "$$\n", "\\(", "<think>", "<!--", "&#", "a\n", "a|b\n-|-\n", "\U0001f600",
         "> - > - > - > - a\nb\n"],
    )  # fmt: skip
    def test_hostile_text_is_rendered(self, modules: Any, piece: str) -> None:
        """100 kB: anything exponential would outlast the page's patience.  No text is lost, none sits deep."""
        text = piece * (100_000 // len(piece))
        n_shown, depth = modules.evaluate(
            """async (text) => {
                const { Markdown } = await import("./markdown.js");
                const place = document.createElement("div");
                new Markdown(place).update(text);
                const deep = (node) => 1 + Math.max(0, ...[...node.children].slice(0, 100).map(deep));
                return [place.childNodes.length, deep(place)];
            }""",
            text,
        )
        assert n_shown > 0 or text.isspace()
        assert depth < 40

    def test_long_blocks(self, modules: Any) -> None:
        """Lists go on in a new one, code and thoughts stay whole, a line that is too long is plain text."""
        code, line = "x = '**'\n" * 4000, "*a* b " * 10_000
        thought = "Hm.\n\n" * 8000
        text = f"<think>{thought}</think>\n\n```py\n{code}```\n\n{line}\n\n" + "- *c*\n" * 5000 + "\n# d"
        box = render(modules, text)
        assert box.locator(".thoughts p").count() == 8000
        assert box.locator("pre code").all_text_contents() == [code.removesuffix("\n")]
        assert box.locator("> p").all_text_contents() == [line]
        assert (box.locator("li em").count(), box.locator("> h3").count()) == (5000, 1)

    @pytest.mark.parametrize("block", ["Some *words* here.\n\n", "```\na\n\nb\n```\n", "- one\n- two\n\n# Three\n"])
    def test_what_is_finished_is_not_read_again(self, modules: Any, block: str) -> None:
        """While a reply grows the lexer gets a few times its length in all, not its square."""
        n_read = modules.evaluate(
            """async ([block, times]) => {
                const { Lexer } = await import("./vendor/markdown.js");
                const { Markdown } = await import("./markdown.js");
                const { blockTokens, inlineTokens } = Lexer.prototype;
                const text = block.repeat(times);
                const growing = new Markdown(document.createElement("div"));
                let read = 0;
                const counts = (lex) => function (src, ...more) {
                    read += src.length;
                    return lex.call(this, src, ...more);
                };
                Lexer.prototype.blockTokens = counts(blockTokens);
                Lexer.prototype.inlineTokens = counts(inlineTokens);
                for (let n = 4; n <= text.length; n += 4) growing.update(text.slice(0, n), false);
                Object.assign(Lexer.prototype, { blockTokens, inlineTokens });
                return read;
            }""",
            [block, 200],
        )
        assert n_read < 12 * len(block) * len(block) * 200 / 4


class TestStream:
    @pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
    def test_events_survive_any_cut(self, modules: Any, cut: int) -> None:
        wire = (
            ': ping\n\nevent: x\ndata: {"a":"é😀"}\n\ndata:one\r\ndata: two\r\n\r\n\ndata: [DONE]\n\ndata: unfinished'
        )
        found = modules.evaluate(
            """async ([wire, cut]) => {
                const { events } = await import("./api.js");
                const bytes = new TextEncoder().encode(wire);
                const stream = new ReadableStream({ start(controller) {
                    for (let i = 0; i < bytes.length; i += cut) controller.enqueue(bytes.slice(i, i + cut));
                    controller.close();
                } });
                const found = [];
                for await (const data of events(stream)) found.push(data);
                return found;
            }""",
            [wire, cut],
        )
        assert found == ['{"a":"é😀"}', "one\ntwo", "[DONE]"]
