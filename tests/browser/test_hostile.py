"""Model output that means harm, or is merely too much: nothing of it runs, and the page stays a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.acts import answered, open_drawer, say, until_true

HOSTILE = [
    "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'><svg onload=window.hit=1>",
    "[x](javascript:window.hit=1) [y](JaVaScRiPt:window.hit=1) [z](data:text/html,<script>window.hit=1</script>)",
    "![p](javascript:window.hit=1) <javascript:window.hit=1> [u](vbscript:x) [v]( java\tscript:window.hit=1)",
    "\\(\\href{javascript:window.hit=1}{x}\\) \\(\\htmlData{a=b}{x}\\) $\\url{javascript:window.hit=1}$",
    '```"><script>window.hit=1</script>\ncode\n```',
    "```html\n<img src=x onerror=window.hit=1>\n```",
    "| <img src=x onerror=window.hit=1> |\n|---|\n| <b onclick=window.hit=1>x</b> |",
    "<think><script>window.hit=1</script></think><iframe src='javascript:parent.hit=1'></iframe>",
    "\u202egnp.exe \u0000 \ufffe <style>body{display:none}</style> <base href='http://x.y/'>",
]


class TestNothingRuns:
    @pytest.mark.parametrize("where", ["reply", "error", "name"])
    def test_markup_is_text(self, page: Any, server: Any, where: str) -> None:
        text = "\n\n".join(HOSTILE)
        if where == "error":
            server.refusal = (400, {"error": {"code": 400, "message": text, "type": "x"}})
        server.script = [text] if where == "reply" else ["Hm."]
        say(page, text if where == "name" else "Go")
        reply = answered(page)
        open_drawer(page, "Chats")
        page.locator("#history .open").first.wait_for()
        page.keyboard.press("Escape")
        page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None
        strangers = (
            "article :is(script, img, svg[onload], iframe, style, base, b, object, a[href^='j' i], a[href^='d'])"
        )
        assert page.locator(strangers).count() == 0
        assert (
            page.evaluate(
                "[...document.querySelectorAll('*')].some((e) => [...e.attributes].some((a) => /^on/.test(a.name)))"
            )
            is False
        )
        assert reply.is_visible() and page.get_by_label("Message", exact=True).is_visible()

    def test_token_texts(self, page: Any, server: Any) -> None:
        page.evaluate("localStorage['llamatw.settings'] = '{\"n_probs\": 2}'")
        page.reload()
        server.script = HOSTILE
        say(page, "Go")
        answered(page).get_by_label("Token probabilities").click()
        page.locator(".tokens .token").first.click()
        assert page.locator(".tokens .token").all_text_contents() == HOSTILE
        assert page.evaluate("window.hit") is None


class TestTooMuch:
    def test_three_thousand_tokens(self, page: Any, server: Any) -> None:
        """Finished blocks are never made anew, and drawing is not once for each token."""
        paragraph = ["word "] * 29 + ["end.\n\n"]
        server.script = paragraph * 100
        page.evaluate(
            """() => {
                window.drawn = 0;
                window.gone = 0;
                const root = document.querySelector(".log");
                new MutationObserver((changes) => {
                    window.drawn++;
                    for (const { target, removedNodes } of changes)
                        if (target.matches(".assistant .body")) window.gone += removedNodes.length;
                }).observe(root, { childList: true, subtree: true });
            }"""
        )
        say(page, "Go")
        reply = answered(page)
        assert reply.locator("p").count() == 100
        assert reply.locator(".body").inner_text().count("word") == 2900
        drawn, gone = page.evaluate("[window.drawn, window.gone]")
        assert drawn < 3000 and gone <= drawn  # a frame takes away one block at most, the unfinished one

    def test_huge_table_and_unclosed_code(self, page: Any, server: Any) -> None:
        table = "|" + "c|" * 60 + "\n|" + "-|" * 60 + "\n" + ("|" + "x|" * 60 + "\n") * 120
        server.script = [table, "\n```js\n", "let x = '<' + `${1}`;\n" * 500]
        say(page, "Go")
        reply = answered(page)
        assert reply.locator("td").count() == 7200
        assert reply.locator("code").inner_text().count("let x") == 500
        until_true(page, "document.documentElement.scrollWidth <= innerWidth")

    def test_two_hundred_messages(self, page: Any, server: Any) -> None:
        messages = [
            {"id": i, "parent": i - 1, "role": "assistant" if i % 2 else "user", "content": f"{i}: {HOSTILE[i % 9]}"}
            for i in range(200)
        ]
        page.evaluate(
            """async (messages) => {
                const chats = await import("./chats.js");
                await chats.save({ id: "many", kind: "chat", changed: 1, messages, leaf: 199 });
                sessionStorage["llamatw.chat"] = "many";
            }""",
            messages,
        )
        page.reload()
        page.locator("article").nth(199).wait_for()
        page.locator("article").first.scroll_into_view_if_needed()
        say(page, "Go on")
        answered(page)
        assert page.locator("article").count() == 202 and page.evaluate("window.hit") is None
