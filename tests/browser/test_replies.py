"""Replies that go on while the reader is elsewhere: at another chat, at a text, in another tab."""

from __future__ import annotations

import threading
from typing import Any

from tests.browser.acts import answered, open_drawer, say, until, until_true


def begin(page: Any, server: Any, text: str) -> threading.Event:
    """A new chat, in whose reply one token has come; the returned event lets the other come."""
    server.script = [f"{text} half", gate := threading.Event(), f" {text} whole"]
    page.keyboard.press("Alt+n")
    page.get_by_role("heading", name="What is on your mind?").wait_for()
    say(page, text)
    page.get_by_text(f"{text} half").wait_for()
    return gate


def choose(page: Any, title: str) -> None:
    open_drawer(page, "Chats")
    page.locator("#history .open", has_text=title).click()


class TestElsewhere:
    def test_other_chats_have_replies_at_the_same_time(self, page: Any, server: Any) -> None:
        first, second = begin(page, server, "One"), begin(page, server, "Two")
        choose(page, "One")
        page.get_by_text("One half").wait_for()
        assert page.get_by_label("Stop", exact=True).is_visible()
        first.set()
        assert "One half One whole" in answered(page).inner_text()
        assert page.get_by_label("Send").is_visible()
        second.set()
        kept = "import('./chats.js').then(async (c) => (await c.all()).map((one) => one.messages.at(-1)))"
        until(lambda: {one.get("outcome") for one in page.evaluate(kept)} == {"stop"}, page)
        choose(page, "Two")
        assert "Two half Two whole" in answered(page).inner_text()
        assert not server.hung_up.is_set()

    def test_stop_means_the_one_on_screen(self, page: Any, server: Any) -> None:
        first, _ = begin(page, server, "One"), begin(page, server, "Two")
        page.keyboard.press("Escape")
        assert "Stopped." in answered(page).inner_text()
        first.set()
        choose(page, "One")
        page.get_by_text("One whole").wait_for()

    def test_connections_are_left_for_the_page(self, page: Any, server: Any) -> None:
        """A browser opens six to a server; the oldest of five replies ends."""
        for text in ("One", "Two", "Three", "Four"):
            begin(page, server, text)
        assert not server.hung_up.is_set()
        begin(page, server, "Five")
        until(server.hung_up.is_set, page)
        choose(page, "One")
        assert "Stopped." in answered(page).inner_text()

    def test_deleted_and_brought_back(self, page: Any, server: Any) -> None:
        begin(page, server, "One")
        open_drawer(page, "Chats")
        page.get_by_label("Delete “One”").click()
        until(server.hung_up.is_set, page)
        page.get_by_role("button", name="Undo").click()
        text = answered(page).inner_text()
        assert "One half" in text and "Stopped." in text

    def test_question_in_other_words_while_the_first_are_answered(self, page: Any, server: Any) -> None:
        say(page, "One")
        answered(page)
        page.locator(".user").first.get_by_label("Edit the message").click()
        server.script = ["Half", threading.Event()]
        say(page, "Two")
        page.get_by_text("Half").wait_for()
        server.script = ["Bonjour."]
        page.get_by_label("Edit the text").fill("Un")
        page.get_by_role("button", name="Send", exact=True).first.click()
        until(server.hung_up.is_set, page)
        assert "Bonjour." in answered(page).inner_text()
        page.get_by_label("The question before").click()
        assert "Stopped." in answered(page).inner_text()

    def test_undo_reaches_the_chat_it_was_in(self, page: Any, server: Any) -> None:
        say(page, "One")
        answered(page).get_by_label("Edit the reply").click()
        page.get_by_label("Edit the text").fill("Other words")
        page.get_by_role("button", name="Save").click()
        page.keyboard.press("Alt+n")
        page.get_by_role("heading", name="What is on your mind?").wait_for()
        page.keyboard.press("Alt+z")
        choose(page, "One")
        assert "Hello there." in answered(page).inner_text()

    def test_text_goes_on_too(self, page: Any, server: Any) -> None:
        gate = begin(page, server, "One")
        page.keyboard.press("Alt+n")
        page.get_by_role("button", name="Completion").click()
        sheet = page.get_by_label("Text", exact=True)
        sheet.fill("Once")
        server.script = [" upon", threading.Event()]
        page.keyboard.press("Control+Enter")
        until(lambda: sheet.input_value() == "Once upon", page)
        gate.set()
        choose(page, "One")
        assert "One whole" in answered(page).inner_text()
        choose(page, "Once")
        until(lambda: sheet.input_value() == "Once upon", page)
        page.get_by_role("button", name="Stop", exact=True).first.click()
        page.locator("#sheet").get_by_text("Stopped.").wait_for()


class TestTabs:
    def test_replies_in_two_tabs_at_one_chat(self, page: Any, server: Any) -> None:
        """Neither overwrites the other: the one that is disturbed goes on as a copy."""
        say(page, "One")
        answered(page)
        other = page.context.new_page()
        other.goto(server.url)
        answered(other)
        server.script = ["Left half", gate := threading.Event(), " and whole."]
        say(page, "Left")
        page.get_by_text("Left half").wait_for()
        server.script = ["Right."]
        say(other, "Right")
        answered(other)
        page.get_by_text("goes on as a copy").wait_for()
        gate.set()
        assert "Left half and whole." in answered(page).inner_text()
        for tab, text in ((page, "Left half and whole."), (other, "Right.")):
            tab.reload()
            assert text in answered(tab).inner_text()
            assert tab.locator("article").count() == 4

    def test_hidden_page_has_kept_all(self, page: Any, server: Any) -> None:
        """Phones end a hidden page without any other event."""
        page.get_by_label("Message", exact=True).fill("Half a thought")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert page.evaluate("sessionStorage['llamatw.draft']") == "Half a thought"

    def test_full_storage(self, page: Any) -> None:
        """What the browser refused to keep is newer than what it has."""
        page.evaluate(
            """async () => {
                const chats = await import("./chats.js");
                const chat = (content) => ({
                    id: "a", kind: "chat", messages: [{ id: 0, parent: -1, role: "user", content }], leaf: 0,
                });
                await chats.touch(chat("old"));
                const { put } = IDBObjectStore.prototype;
                IDBObjectStore.prototype.put = () => { throw new DOMException("", "QuotaExceededError"); };
                await chats.touch(chat("new"));
                IDBObjectStore.prototype.put = put;
            }"""
        )
        page.get_by_text("This browser keeps no more chats").wait_for()
        open_drawer(page, "Chats")
        assert page.locator("#history .open").all_inner_texts() == ["new"]
        page.locator("#history .open").click()
        page.locator(".user .body").get_by_text("new").wait_for()


class TestOnce:
    def test_drawer_that_is_asked_for_twice(self, page: Any) -> None:
        until_true(page, "!document.querySelector('.welcome').hidden")
        page.evaluate("for (const _ of 'ab') document.querySelector('[data-action=history]').click()")
        page.get_by_label("Search all chats").wait_for()
        assert page.get_by_label("Search all chats").count() == 1

    def test_chats_are_read_once_for_a_search(self, page: Any, server: Any) -> None:
        say(page, "Of cats")
        answered(page)
        page.evaluate(
            """() => {
                const { getAll } = IDBObjectStore.prototype;
                window.names = [];
                IDBObjectStore.prototype.getAll = function () {
                    window.names.push(this.name);
                    return getAll.call(this);
                };
            }"""
        )
        open_drawer(page, "Chats")
        page.get_by_label("Search all chats").press_sequentially("cats")
        page.get_by_text("1 found").wait_for(state="attached")
        assert page.evaluate("window.names") == ["heads", "chats"]

    def test_editor_stays_alone(self, page: Any, server: Any) -> None:
        """What happens to the message meanwhile shows when the editor closes."""
        say(page, "One")
        answered(page)
        page.get_by_label("Make another reply").click()
        page.get_by_text("2 / 2").wait_for()
        answered(page)
        page.locator(".user").get_by_label("Edit the message").click()
        page.get_by_label("The reply before").click()
        page.get_by_text("1 / 2").wait_for()
        assert page.locator(".user button").all_inner_texts() == ["Cancel", "Save", "Send"]
