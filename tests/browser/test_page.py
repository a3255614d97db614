"""The page in a real browser, against a scripted server: what a reader sees and does, and what the page sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WEBROOT = Path(__file__).resolve().parents[2] / "webroot"
FIRST_PAINT = ("index.html", "style.css", "theme.js", "favicon.svg")
LAZY = ("markdown.js", "inline.js", "settings.js", "history.js")


def say(page: Any, text: str) -> None:
    """Send, and wait until question and coming reply are on screen."""
    n_shown = page.locator("article").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"article.assistant:nth-child({n_shown + 2})")


def answered(page: Any) -> Any:
    """The last reply, once it has ended and is shown as markdown."""
    page.wait_for_selector("article.assistant:last-child[aria-busy=false]")
    until_true(page, "![...document.querySelectorAll('.assistant .body')].some((b) => b.firstChild instanceof Text)")
    return page.locator("article.assistant").last


def until(condition: Callable[[], object], page: Any) -> None:
    """Wait for something outside the page."""
    end = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def until_true(page: Any, expression: str) -> None:
    """Wait for something in the page; its CSP forbids the eval behind Playwright's own waiting."""
    until(lambda: page.evaluate(expression), page)


def open_drawer(page: Any, label: str) -> None:
    page.get_by_label(label).first.click()
    page.wait_for_selector("dialog.drawer[open]")


class TestTalk:
    def test_streams_and_shows_figures(self, page: Any, server: Any) -> None:
        gate = threading.Event()
        server.script = ["Rain", "bows ", gate, "are **light**."]
        say(page, "Why?")
        reply = page.locator("article.assistant")
        until_true(page, "document.querySelector('.assistant .body')?.textContent === 'Rainbows'")
        assert reply.get_attribute("aria-busy") == "true"
        gate.set()
        answered(page)
        assert reply.locator(".body").inner_html() == '<p dir="auto">Rainbows are <strong>light</strong>.</p>'
        assert reply.locator(".figures").inner_text() == "3 tokens · 31.3 tokens/s"
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

    def test_again_replaces_the_reply(self, page: Any, server: Any) -> None:
        say(page, "Go")
        answered(page)
        server.script = ["Something else."]
        page.get_by_label("Make another reply").click()
        page.get_by_text("Something else.").wait_for()
        assert page.locator("article").count() == 2
        assert server.requests[0] == server.requests[1]

    def test_only_the_newest_reply_can_be_made_anew(self, page: Any, server: Any) -> None:
        for text in ("One", "Two"):
            say(page, text)
            answered(page)
        assert [b.is_visible() for b in page.get_by_label("Make another reply").all()] == [False, True]

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


class TestKept:
    def test_reload_brings_the_chat_back(self, page: Any, server: Any) -> None:
        say(page, "Remember me")
        answered(page)
        page.reload()
        assert "Hello there." in answered(page).inner_text()
        assert page.locator(".user .body").inner_text() == "Remember me"

    def test_reload_in_mid_reply_keeps_what_had_come(self, page: Any, server: Any) -> None:
        server.script = ["So far", threading.Event()]
        say(page, "Go")
        page.get_by_text("So far").wait_for()
        page.reload()
        text = answered(page).inner_text()
        assert "So far" in text and "Interrupted" in text

    def test_new_chat_and_back(self, page: Any, server: Any) -> None:
        say(page, "First subject")
        answered(page)
        page.get_by_label("New chat").click()
        assert page.get_by_role("heading", name="What is on your mind?").is_visible()
        say(page, "Second subject")
        answered(page)
        assert [m["content"] for m in server.requests[1]["messages"]] == ["Second subject"]
        open_drawer(page, "Chats")
        assert page.locator("#history .open").all_inner_texts() == ["Second subject", "First subject"]
        page.get_by_role("button", name="First subject").click()
        assert page.locator(".user .body").inner_text() == "First subject"

    def test_another_tab_at_the_same_chat(self, page: Any, server: Any) -> None:
        """What one tab adds, the other shows, so that neither overwrites the other's."""
        say(page, "One")
        answered(page)
        other = page.context.new_page()
        other.goto(server.url)
        answered(other)
        say(other, "Two")
        answered(other)
        until_true(page, "document.querySelectorAll('article').length === 4")
        say(page, "Three")
        answered(page)
        assert [m["content"] for m in server.requests[-1]["messages"]][::2] == ["One", "Two", "Three"]

    def test_delete_can_be_undone(self, page: Any, server: Any) -> None:
        say(page, "Dear chat")
        answered(page)
        open_drawer(page, "Chats")
        page.get_by_label("Delete this chat").click()
        assert page.locator("article").count() == 0
        page.get_by_role("button", name="Undo").click()
        assert page.locator(".user .body").inner_text() == "Dear chat"

    def test_deleting_a_streaming_chat_leaves_nothing(self, page: Any, server: Any) -> None:
        server.script = ["Half", threading.Event()]
        say(page, "Go")
        page.get_by_text("Half").wait_for()
        open_drawer(page, "Chats")
        page.get_by_label("Delete this chat").click()
        until(server.hung_up.is_set, page)
        kept = page.evaluate("Object.keys(localStorage).filter((name) => name.includes('chat.'))")
        assert kept == []


class TestSettings:
    def test_only_changed_values_are_sent(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        until_true(page, "document.querySelector('#set-temperature').placeholder === '0.8'")
        assert page.locator("#set-seed").get_attribute("placeholder") == "random"
        page.locator("#set-temperature").fill("1.2")
        page.locator("#set-seed").fill("7")
        page.locator("#set-system").fill("Be brief.")
        page.keyboard.press("Escape")
        say(page, "Go")
        answered(page)
        sent = server.requests[0]
        assert sent["temperature"] == 1.2 and sent["seed"] == 7
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert not {"top_k", "top_p", "min_p", "repeat_penalty", "max_tokens"} & sent.keys()

    def test_reset_gives_values_back(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        page.locator("#set-top_k").fill("5")
        page.locator("#set-min_p").fill("0.5")
        page.get_by_label("Top-k: back to the server's value").click()
        assert page.locator("#set-top_k").input_value() == "" and page.locator("#set-min_p").input_value() == "0.5"
        page.get_by_role("button", name="Reset all settings").click()
        assert page.locator("#set-min_p").input_value() == ""
        page.reload()
        say(page, "Go")
        answered(page)
        assert server.requests[0].keys() == {"messages", "stream", "stream_options"}

    def test_value_out_of_range_is_not_taken(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        page.locator("#set-top_p").fill("3")
        page.keyboard.press("Tab")
        page.get_by_label("Close").last.click()
        assert page.evaluate("JSON.parse(localStorage['llamatw.settings'] ?? '{}')") == {}

    def test_dark_and_light(self, page: Any) -> None:
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(paper)
        page.get_by_label("Switch between light and dark").click()
        dark = page.evaluate(paper)
        assert dark != light
        page.reload()
        assert page.evaluate(paper) == dark
        page.get_by_label("Switch between light and dark").click()
        assert page.evaluate(paper) == light and page.evaluate("'llamatw.theme' in localStorage") is False


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
        page.get_by_label("Message", exact=True).fill("Meanwhile")
        reply.get_by_label("Edit the message").click()
        assert page.get_by_label("Message", exact=True).input_value() == "A long story\n\nMeanwhile"
        assert page.locator("article").count() == 0

    def test_other_refusals_speak_the_servers_words(self, page: Any, server: Any) -> None:
        server.refusal = (400, {"error": {"code": 400, "message": "the template refused <b>this</b>", "type": "x"}})
        say(page, "Go")
        assert "the template refused <b>this</b>" in answered(page).inner_text()

    def test_error_in_the_stream(self, page: Any, server: Any) -> None:
        server.script = ["Half", {"error": {"code": 500, "message": "the engine died", "type": "server_error"}}]
        say(page, "Go")
        text = answered(page).inner_text()
        assert "Half" in text and "the engine died" in text

    def test_connection_lost_keeps_the_text(self, page: Any, server: Any) -> None:
        server.script = ["Half", None]
        say(page, "Go")
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
        """Bytes before anything is seen, and before the first message."""
        sizes = {path.name: path.stat().st_size for path in WEBROOT.iterdir() if path.is_file()}
        page.get_by_text("Tiny-1B").wait_for()
        fetched = {path.lstrip("/") or "index.html" for path in server.paths} - {"health", "props"}
        assert fetched.isdisjoint(LAZY)
        assert sum(sizes[name] for name in FIRST_PAINT) <= 20_000
        assert sum(sizes[name] for name in fetched | set(FIRST_PAINT)) <= 48_000

    def test_every_control_has_a_name(self, page: Any, server: Any) -> None:
        say(page, "Go")
        answered(page)
        open_drawer(page, "Settings")
        nameless = page.locator("button, input, textarea").evaluate_all(
            "all => all.filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
        )
        assert nameless == []
