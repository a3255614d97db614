"""What the browser keeps: chats, and the files they go into and come from."""

from __future__ import annotations

import threading
from typing import Any

from tests.browser.acts import answered, open_drawer, say, until, until_true


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
        page.get_by_role("heading", name="What is on your mind?").wait_for()
        say(page, "Second subject")
        answered(page)
        assert [m["content"] for m in server.requests[1]["messages"]] == ["Second subject"]
        open_drawer(page, "Chats")
        page.locator("#history .open").nth(1).wait_for()
        assert page.locator("#history .open").all_inner_texts() == ["Second subject", "First subject"]
        page.get_by_role("button", name="First subject", exact=True).click()
        page.locator(".user .body").get_by_text("First subject").wait_for()

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
        page.get_by_label("Delete “Dear chat”").click()
        page.get_by_role("heading", name="What is on your mind?").wait_for()
        page.get_by_role("button", name="Undo").click()
        page.locator(".user .body").get_by_text("Dear chat").wait_for()

    def test_deleting_a_streaming_chat_leaves_nothing(self, page: Any, server: Any) -> None:
        server.script = ["Half", threading.Event()]
        say(page, "Go")
        page.get_by_text("Half").wait_for()
        open_drawer(page, "Chats")
        page.get_by_label("Delete “Go”").click()
        until(server.hung_up.is_set, page)
        page.get_by_text("Chat deleted.").wait_for()
        assert page.evaluate("import('./chats.js').then((chats) => chats.list())") == []
