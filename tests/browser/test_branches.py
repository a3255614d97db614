"""Another reply, other words, going on: the tree behind a conversation, and the pages of it that a reader sees."""

from __future__ import annotations

import threading
from typing import Any

from tests.browser.acts import answered, say, until, until_true


def words(page: Any) -> list[str]:
    """What is on screen, message by message."""
    return page.locator("article .body").all_inner_texts()  # type: ignore[no-any-return]


class TestBranches:
    def test_another_reply_stands_beside_the_first(self, page: Any, server: Any) -> None:
        say(page, "Go")
        answered(page)
        server.script = ["Something else."]
        page.get_by_label("Make another reply").click()
        page.get_by_text("Something else.").wait_for()
        assert words(answered(page).page) == ["Go", "Something else."]
        assert server.requests[0] == server.requests[1]
        page.get_by_label("The reply before").click()
        page.get_by_text("Hello there.").wait_for()
        page.reload()
        page.get_by_text("1 / 2").wait_for()
        page.get_by_label("The next reply").click()
        page.get_by_text("Something else.").wait_for()
        assert page.get_by_label("The next reply").is_disabled()

    def test_question_in_other_words(self, page: Any, server: Any) -> None:
        """Any question, not only the last: what followed the old words stays on its branch."""
        for text in ("One", "Two"):
            say(page, text)
            answered(page)
        server.script = ["Bonjour."]
        page.locator(".user").first.get_by_label("Edit the message").click()
        page.get_by_label("Edit the text").fill("Un")
        page.keyboard.press("Control+Enter")
        page.get_by_text("Bonjour.").wait_for()
        assert words(answered(page).page) == ["Un", "Bonjour."]
        assert server.requests[-1]["messages"] == [{"role": "user", "content": "Un"}]
        page.get_by_label("The question before").click()
        page.get_by_text("Two", exact=True).wait_for()
        assert words(page) == ["One", "Hello there.", "Two", "Hello there."]

    def test_words_changed_in_place(self, page: Any, server: Any) -> None:
        say(page, "Go")
        answered(page).get_by_label("Edit the reply").click()
        page.get_by_label("Edit the text").fill("Hello **you**.")
        page.get_by_role("button", name="Save").click()
        assert page.locator(".assistant strong").inner_text() == "you"
        page.get_by_role("button", name="Undo").click()
        until_true(page, "document.querySelector('.assistant .body').textContent === 'Hello there.'")
        page.get_by_label("Edit the reply").click()
        page.get_by_label("Edit the text").fill("Never mind")
        page.keyboard.press("Escape")
        assert words(page) == ["Go", "Hello there."]
        assert len(server.requests) == 1

    def test_reply_goes_on(self, page: Any, server: Any) -> None:
        server.finish = "length"
        say(page, "Go")
        answered(page)
        server.finish, server.script = "stop", [" And", " more."]
        page.get_by_label("Continue the reply").click()
        page.get_by_text("Hello there. And more.").wait_for()
        assert answered(page).locator(".figures").inner_text().startswith("4 tokens")
        assert server.requests[-1]["messages"][-1] == {"role": "assistant", "content": "Hello there."}
        assert server.requests[-1]["continue_final_message"] is True

    def test_only_the_newest_reply_can_go_on(self, page: Any, server: Any) -> None:
        for text in ("One", "Two"):
            say(page, text)
            answered(page)
        assert [b.is_visible() for b in page.get_by_label("Continue the reply").all()] == [False, True]


class TestKeys:
    def test_without_a_mouse(self, page: Any, server: Any) -> None:
        page.keyboard.type("First words")
        page.keyboard.press("Enter")
        answered(page)
        page.keyboard.press("ArrowUp")
        page.keyboard.press("End")
        page.keyboard.type(" changed")
        page.keyboard.press("Control+Enter")
        page.get_by_text("First words changed").wait_for()
        answered(page)
        for key, drawer in (("s", "settings"), ("c", "history"), ("m", "monitor")):
            page.keyboard.press(f"Alt+{key}")
            page.wait_for_selector(f"#{drawer}[open]")
            page.keyboard.press("Escape")
            page.wait_for_selector(f"#{drawer}", state="hidden")
        page.keyboard.press("Alt+n")
        page.get_by_role("heading", name="What is on your mind?").wait_for()

    def test_the_focus_is_never_lost(self, page: Any, server: Any) -> None:
        """Where a button goes away with what it did, the focus goes to its like, or to where one writes."""
        say(page, "Go")
        answered(page)
        writing = ["Message"]
        for act, keys, then in (
            ("Make another reply", [], writing),
            ("The reply before", [], ["The next reply"]),
            ("Continue the reply", [], writing),
            ("Edit the reply", ["Escape"], ["Edit the reply"]),
            ("Edit the reply", ["x", "Control+Enter"], ["Edit the reply"]),
            ("Edit the message", ["x", "Control+Enter"], writing),
        ):
            page.get_by_label(act).last.focus()
            for key in ["Enter", *keys]:
                page.keyboard.press(key)
            answered(page)
            until(lambda: [page.evaluate("document.activeElement.ariaLabel")] == then, page)  # noqa: B023
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.ariaLabel") == "Message"

    def test_escape_in_an_editor_stops_nothing(self, page: Any, server: Any) -> None:
        gate = threading.Event()
        say(page, "Go")
        answered(page)
        server.script = ["Slow", gate, " end."]
        page.get_by_label("Make another reply").click()
        page.get_by_text("Slow").wait_for()
        page.locator(".user").get_by_label("Edit the message").click()
        assert page.get_by_label("Edit the text").count() == 0  # a reply is being made from these words
        gate.set()
        assert "Slow end." in answered(page).inner_text()
