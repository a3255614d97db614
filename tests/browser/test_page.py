"""The page in a real browser, against a scripted server: what a reader sees and does, and what the page sends."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.browser.acts import answered, open_drawer, say, until, until_true

WEBROOT = Path(__file__).resolve().parents[2] / "webroot"
FIRST_PAINT = ("index.html", "style.css", "theme.js", "favicon.svg")
DRAWERS = "settings history monitor probs notebook sheet"
LAZY = {f"{name}.js" for name in f"markdown lexer code formulas vendor/markdown {DRAWERS}".split()}


class TestTalk:
    def test_streams_and_shows_figures(self, page: Any, server: Any) -> None:
        gate = threading.Event()
        server.script = ["Rain", "bows ", gate, "are **light**."]
        say(page, "Why?")
        reply = page.locator("article.assistant")
        until_true(page, "document.querySelector('.assistant .body')?.textContent.trim() === 'Rainbows'")
        assert reply.get_attribute("aria-busy") == "true"
        gate.set()
        answered(page)
        assert reply.locator(".body").inner_html() == '<p dir="auto">Rainbows are <strong>light</strong>.</p>'
        assert reply.locator(".figures").inner_text().startswith("3 tokens · 31.3 tokens/s · first after ")
        assert "4 of them from the cache" in (reply.locator(".figures").get_attribute("title") or "")

    def test_sends_the_conversation_and_nothing_else(self, page: Any, server: Any) -> None:
        say(page, "One")
        answered(page)
        say(page, "Two")
        answered(page)
        assert server.requests[1] == {
            "messages": [
                {"role": "user", "content": "One"},
                {"role": "assistant", "content": "Hello there."},
                {"role": "user", "content": "Two"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
            "timings_per_token": True,
        }

    def test_shift_enter_is_a_new_line(self, page: Any, server: Any) -> None:
        box = page.get_by_label("Message", exact=True)
        box.fill("one")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("two")
        assert box.input_value() == "one\ntwo" and server.requests == []
        page.keyboard.press("Enter")
        answered(page)
        assert server.requests[0]["messages"][-1]["content"] == "one\ntwo"

    @pytest.mark.parametrize("how", ["button", "escape"])
    def test_stop_hangs_up_and_keeps_the_text(self, page: Any, server: Any, how: str) -> None:
        server.script = ["Half an", threading.Event()]
        say(page, "Go")
        page.get_by_text("Half an").wait_for()
        page.get_by_label("Stop").click() if how == "button" else page.keyboard.press("Escape")
        reply = answered(page)
        assert "Half an" in reply.inner_text() and "Stopped." in reply.inner_text()
        until(server.hung_up.is_set, page)
        assert page.get_by_label("Send").is_visible()

    def test_cut_off_reply_says_so(self, page: Any, server: Any) -> None:
        server.finish = "length"
        say(page, "Go")
        assert "Cut off: the limit" in answered(page).inner_text()

    def test_copy_gives_the_source(self, page: Any, server: Any) -> None:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
        server.script = ["**bold**\n\n```py\nx = 1\n```\n"]
        say(page, "Go")
        reply = answered(page)
        reply.get_by_label("Copy message").click()
        assert page.evaluate("navigator.clipboard.readText()") == "**bold**\n\n```py\nx = 1\n```\n"
        reply.get_by_label("Copy code").click()
        assert page.evaluate("navigator.clipboard.readText()") == "x = 1"

    def test_right_to_left(self, page: Any, server: Any) -> None:
        server.script = ["مرحبا بالعالم\n\n- واحد\n\n> שלום\n\nHello"]
        say(page, "שלום")
        reply = answered(page)
        sides = reply.locator(".body > *").evaluate_all("all => all.map(e => getComputedStyle(e).direction)")
        assert sides == ["rtl", "rtl", "rtl", "ltr"]
        assert page.locator(".user .body").evaluate("b => getComputedStyle(b).direction") == "rtl"

    def test_right_to_left_tables(self, page: Any, server: Any) -> None:
        """Columns go the way of the first cell; each cell begins on the side where its own text does."""
        server.script = [
            "| עמוד | B |\n|---|---|\n| ערך | a very much wider cell |\n\n| A | ב |\n|---|---|\n| 1 | ערך |"
        ]
        say(page, "Go")
        tables = answered(page).locator("table")
        firsts = "cells => cells[0].getBoundingClientRect().left > cells[1].getBoundingClientRect().left"
        assert [tables.nth(i).locator("th").evaluate_all(firsts) for i in range(2)] == [True, False]
        narrow = tables.first.locator("th").last  # "B" above the wide cell
        assert narrow.evaluate(
            """cell => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                const [text, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
                return text.left - box.left < box.right - text.right;
            }"""
        )

    def test_follows_the_newest_line_until_scrolled_away(self, page: Any, server: Any) -> None:
        gates = [threading.Event(), threading.Event()]
        server.script = ["line\n\n" * 60, gates[0], "line\n\n" * 60, gates[1], "the end"]
        hidden = (
            "document.querySelector('.scroll').scrollHeight - innerHeight - document.querySelector('.scroll').scrollTop"
        )
        say(page, "Go")
        until_true(page, "document.querySelectorAll('.assistant p').length === 60")
        assert page.evaluate(hidden) < 100
        page.mouse.move(500, 300)
        page.mouse.wheel(0, -900)
        page.get_by_label("Go to the newest message").wait_for()
        gates[0].set()
        until_true(page, "document.querySelectorAll('.assistant p').length === 120")
        assert page.evaluate(hidden) > 900
        page.get_by_label("Go to the newest message").click()
        gates[1].set()
        page.get_by_text("the end").wait_for()
        assert page.evaluate(hidden) < 100

    def test_script_in_a_reply_does_nothing(self, page: Any, server: Any) -> None:
        server.script = [
            "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>[x](javascript:window.hit=1)"
        ]
        say(page, "Go")
        assert "<script>" in answered(page).inner_text()
        assert page.evaluate("window.hit") is None and page.locator("article a, article img").count() == 0


class TestTrouble:
    def test_loading_shows_progress_and_the_message_waits(self, page: Any, server: Any) -> None:
        server.loading = 0.43
        page.reload()
        page.get_by_text("The model is loading: 43 %").wait_for()
        say(page, "Early bird")
        page.wait_for_timeout(100)
        assert server.requests == []
        server.loading = None
        assert "Hello there." in answered(page).inner_text()
        assert page.locator(".status").is_hidden()

    def test_restart_between_messages(self, page: Any, server: Any) -> None:
        """The page believes the server ready, the server is loading again: the message is sent once it is ready."""
        say(page, "One")
        answered(page)
        server.loading = 0.1
        say(page, "Two")
        page.get_by_text("The model is loading: 10 %").wait_for()
        server.loading = None
        answered(page)
        assert server.requests[-1]["messages"][-1]["content"] == "Two"

    def test_key_is_asked_for_and_kept(self, page: Any, server: Any) -> None:
        server.key = "sesame"
        page.reload()
        page.get_by_label("API key", exact=True).first.fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That key was not accepted.").wait_for()
        page.get_by_label("API key", exact=True).first.fill("sesame")
        page.keyboard.press("Enter")
        until_true(page, "!document.querySelector('dialog[open]') && document.querySelector('.status').hidden")
        page.reload()
        say(page, "Go")
        assert "Hello there." in answered(page).inner_text()

    def test_key_changed_under_way(self, page: Any, server: Any) -> None:
        say(page, "One")
        answered(page)
        server.key = "new"
        say(page, "Two")
        page.get_by_label("API key", exact=True).first.fill("new")
        page.keyboard.press("Enter")
        answered(page)
        assert server.requests[-1]["messages"][-1]["content"] == "Two"

    def test_context_full(self, page: Any, server: Any) -> None:
        error = {
            "code": 400,
            "type": "exceed_context_size_error",
            "message": "x",
            "n_prompt_tokens": 3000,
            "n_ctx": 2048,
        }
        server.refusal = (400, {"error": error})
        say(page, "A long story")
        reply = answered(page)
        assert "3000 tokens, and it holds 2048" in reply.inner_text()
        reply.get_by_role("button", name="New chat").wait_for()
        reply.get_by_role("button", name="Edit the question").click()
        server.refusal = None
        page.get_by_label("Edit the text").fill("A short story")
        page.get_by_role("button", name="Send", exact=True).first.click()
        assert "Hello there." in answered(page).inner_text()
        assert server.requests[-1]["messages"] == [{"role": "user", "content": "A short story"}]

    def test_other_refusals_speak_the_servers_words(self, page: Any, server: Any) -> None:
        server.refusal = (400, {"error": {"code": 400, "message": "the template refused <b>this</b>", "type": "x"}})
        say(page, "Go")
        assert "the template refused <b>this</b>" in answered(page).inner_text()

    def test_error_in_the_stream(self, page: Any, server: Any) -> None:
        server.script = ["Half", {"error": {"code": 500, "message": "the engine died", "type": "server_error"}}]
        say(page, "Go")
        text = answered(page).inner_text()
        assert "Half" in text and "the engine died" in text

    def test_lost_connection_is_resumed(self, page: Any, server: Any) -> None:
        """The server restarts in mid-reply: what had come stays, and the reply goes on from there by itself."""
        gate = threading.Event()
        page.evaluate("localStorage['llamatw.settings'] = '{\"max_tokens\": 5}'")
        page.reload()
        server.script = ["Half", " a", gate, None]
        say(page, "Go")
        page.get_by_text("Half a").wait_for()
        server.loading = 0.5
        gate.set()
        page.get_by_text("The model is loading: 50 %").wait_for()
        server.script = [" loaf."]
        server.loading = None
        text = answered(page).inner_text()
        assert "Half a loaf." in text and "The connection was lost in between" in text
        assert server.requests[-1]["messages"][-1] == {"role": "assistant", "content": "Half a"}
        assert server.requests[-1]["continue_final_message"] is True
        assert [request["max_tokens"] for request in server.requests] == [5, 3]

    def test_lost_for_good_keeps_the_text(self, page: Any, server: Any) -> None:
        """A server that breaks off again without a token is not asked for ever."""
        server.script = ["Half", None]
        say(page, "Go")
        page.get_by_text("Half").first.wait_for()
        server.script = [None]
        text = answered(page).inner_text()
        assert "Half" in text and "connection to the server was lost" in text
        server.script = ["Whole"]
        page.get_by_label("Make another reply").click()
        page.get_by_text("Whole").wait_for()

    def test_server_gone_and_back(self, page: Any, server: Any) -> None:
        page.get_by_text("Tiny-1B").wait_for()
        page.route("**/*", lambda route: route.abort())
        say(page, "Go")
        page.get_by_text("No connection to the server").wait_for()
        page.unroute("**/*")
        page.wait_for_selector(".status", state="hidden")
        page.get_by_label("Make another reply").click()
        page.get_by_text("Hello there.").wait_for()


class TestShape:
    def test_phone_width(self, page: Any, server: Any) -> None:
        """Nothing that the server or the reader writes makes the page wider than the phone."""
        page.set_viewport_size({"width": 360, "height": 640})
        code, table = "```\n" + "x" * 300 + "\n```\n", "|" + "wide cell|" * 20 + "\n|" + "-|" * 20
        server.script = [code, "long" * 100, " `" + "y" * 300 + "`\n\n", table]
        say(page, "w" * 300)
        answered(page)
        page.evaluate("document.querySelector('.model').textContent = 'a-model-with-a-very-long-name-indeed.Q4_K_M'")
        wide = "[...document.querySelectorAll('.bar *, .dock *, article, .body > *')]"
        assert (
            page.evaluate(f"{wide}.filter((e) => e.getBoundingClientRect().right > 360).map((e) => e.className)") == []
        )

    def test_weight(self, page: Any, server: Any) -> None:
        """Bytes before the first message, as they travel (gzip)."""
        page.get_by_text("Tiny-1B").wait_for()
        fetched = {path.lstrip("/") or "index.html" for path in server.paths} - {"health", "props"}
        assert fetched.isdisjoint(LAZY)
        weight = {name: len(gzip.compress((WEBROOT / name).read_bytes())) for name in fetched}
        assert sum(weight[name] for name in FIRST_PAINT) <= 12_000
        assert sum(weight.values()) <= 60_000

    def test_every_control_has_a_name(self, page: Any, server: Any) -> None:
        say(page, "Go")
        answered(page)
        open_drawer(page, "Settings")
        nameless = page.locator("button, input, textarea").evaluate_all(
            "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
        )
        assert nameless == []
