"""What the browser keeps: chats, and the files they go into and come from."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.acts import answered, open_drawer, say, until, until_true


def reload_without_the_kept_chat(page: Any) -> Callable[[], None]:
    """The chat waits for its markdown, until the function that this returns is called."""
    held: list[Any] = []
    page.route("**/markdown.js", lambda route: route.continue_() if held else held.append(route))
    page.reload()
    until(lambda: held, page)
    return lambda: held[0].continue_()


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

    def test_sent_before_the_kept_chat_is_there(self, page: Any, server: Any) -> None:
        """The earliest message goes on with the kept chat, which waits for its markdown here, and is sent once."""
        say(page, "One")
        answered(page)
        release = reload_without_the_kept_chat(page)
        page.get_by_label("Message", exact=True).fill("Two")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_timeout(50)
        assert len(server.requests) == 1
        release()
        until(lambda: len(server.requests) == 2, page)
        assert [m["content"] for m in server.requests[1]["messages"]][::2] == ["One", "Two"]
        answered(page)
        assert page.locator(".user .body").all_inner_texts() == ["One", "Two"]
        assert page.get_by_label("Message", exact=True).input_value() == ""

    def test_written_on_before_the_kept_chat_is_there(self, page: Any, server: Any) -> None:
        """What was sent too early, and then written on, is sent when its writer says so again."""
        say(page, "One")
        answered(page)
        release = reload_without_the_kept_chat(page)
        page.get_by_label("Message", exact=True).fill("Two")
        page.keyboard.press("Enter")
        page.keyboard.type(" and a h")
        release()
        answered(page)
        assert page.get_by_label("Message", exact=True).input_value() == "Two and a h"
        assert len(server.requests) == 1

    def test_new_chat_before_the_kept_one_is_there(self, page: Any, server: Any) -> None:
        say(page, "One")
        answered(page)
        release = reload_without_the_kept_chat(page)
        page.keyboard.press("Alt+n")
        page.get_by_label("Message", exact=True).fill("Two")
        page.keyboard.press("Enter")
        until(lambda: len(server.requests) == 2, page)
        assert [m["content"] for m in server.requests[1]["messages"]] == ["Two"]
        release()
        answered(page)
        assert page.locator(".user .body").all_inner_texts() == ["Two"]

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

    def test_several_are_deleted_one_after_the_other(self, page: Any, server: Any) -> None:
        for text in ("One", "Two"):
            page.keyboard.press("Alt+n")
            page.get_by_role("heading", name="What is on your mind?").wait_for()
            say(page, text)
            answered(page)
        page.keyboard.press("Alt+c")
        page.get_by_label("Delete “Two”").press("Enter")
        until_true(page, "document.activeElement.ariaLabel === 'Delete “One”'")
        page.keyboard.press("Enter")
        page.get_by_text("No chats yet.").wait_for()
        page.keyboard.press("Alt+z")
        page.get_by_role("button", name="One", exact=True).wait_for()

    def test_reload_keeps_what_was_being_written(self, page: Any, server: Any) -> None:
        page.get_by_label("Message", exact=True).fill("Half a\nthought")
        page.reload()
        until(lambda: page.get_by_label("Message", exact=True).input_value() == "Half a\nthought", page)

    def test_without_storage(self, page: Any, server: Any) -> None:
        """Private windows and strict settings: chats last as long as the page, which says so once."""
        refusal = "{ get() { throw new DOMException('no', 'SecurityError'); } }"
        names = '["indexedDB", "localStorage", "sessionStorage"]'
        page.context.add_init_script(f"for (const n of {names}) Object.defineProperty(window, n, {refusal})")
        page.reload()
        for text in ("One", "Two"):
            say(page, text)
            answered(page)
            page.keyboard.press("Alt+n")
            page.get_by_role("heading", name="What is on your mind?").wait_for()
        assert "This browser keeps no more chats" in page.locator(".toast").inner_text()
        open_drawer(page, "Chats")
        page.get_by_role("button", name="One", exact=True).click()
        page.locator(".user .body").get_by_text("One").wait_for()

    def test_deleting_a_streaming_chat_leaves_nothing(self, page: Any, server: Any) -> None:
        server.script = ["Half", threading.Event()]
        say(page, "Go")
        page.get_by_text("Half").wait_for()
        open_drawer(page, "Chats")
        page.get_by_label("Delete “Go”").click()
        until(server.hung_up.is_set, page)
        page.get_by_text("Chat deleted.").wait_for()
        assert page.evaluate("import('./chats.js').then((chats) => chats.list())") == []


LONG = """async (n) => {
    const messages = Array.from({ length: n }, (_, id) => ({
        id, parent: id - 1, role: id % 2 ? "assistant" : "user", content: `**Message** ${id}`, outcome: "stop",
    }));
    const chats = await import("./chats.js");
    await chats.save({ id: "long", kind: "chat", changed: 1, messages, leaf: n - 1 });
    sessionStorage["llamatw.chat"] = "long";
}"""


class TestLong:
    def test_a_thousand_messages(self, page: Any, server: Any) -> None:
        """All are there to be found, those near the window are drawn, and scrolling draws the others."""
        page.evaluate(LONG, 1000)
        page.reload()
        page.get_by_text("Message 999").wait_for()
        assert page.locator("article").count() == 1000
        assert page.locator("article strong").count() < 100
        first = page.locator("article").nth(1)
        assert first.locator(".body").text_content() == "**Message** 1"
        first.scroll_into_view_if_needed()
        until(lambda: first.locator("strong").count() == 1, page)
        page.get_by_label("Go to the newest message").click()
        say(page, "One more")
        answered(page)
        assert len(server.requests[0]["messages"]) == 1001


class TestFiles:
    def test_export_and_import(self, page: Any, server: Any, browser: Any, tmp_path: Path) -> None:
        say(page, "Take me along")
        answered(page)
        page.get_by_label("Make another reply").click()
        page.get_by_text("2 / 2").wait_for()
        answered(page)
        open_drawer(page, "Chats")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export all").click()
        download.value.save_as(tmp_path / "chats.json")
        page.get_by_label("Delete “Take me along”").click()
        page.get_by_text("No chats yet.").wait_for()
        page.get_by_label("A file of chats").set_input_files(tmp_path / "chats.json")
        page.get_by_text("1 of 1 chats imported.").wait_for()
        page.get_by_role("button", name="Take me along", exact=True).click()
        page.get_by_text("2 / 2").wait_for()
        open_drawer(page, "Chats")
        page.get_by_label("A file of chats").set_input_files(tmp_path / "chats.json")
        page.get_by_text("the others are here already").wait_for()

    def test_chats_of_the_page_of_llama_cpp(self, page: Any, tmp_path: Path) -> None:
        """The tree, thoughts and attached files come along; ids that go round in circles do no harm."""

        def message(id_: str, parent: str | None, role: str, content: str, **more: Any) -> dict[str, Any]:
            return {"id": id_, "convId": "c", "type": "text", "timestamp": 1, "role": role, "content": content,
                    "parent": parent, "children": [], **more}  # fmt: skip

        said = [
            message("a2", "q", "assistant", "Second", reasoningContent="Hm."),
            message("r", None, "system", "", type="root"),
            message("s", "r", "system", "Be brief."),
            message("q", "s", "user", "Why?", extra=[{"type": "textFile", "name": "n.txt", "content": "noted"}]),
            message("a1", "q", "assistant", "First"),
            message("a1", "q", "assistant", "Twin"),
            message("x", "y", "user", "round"),
            message("y", "x", "user", "and round"),
        ]
        theirs = {"conv": {"id": "c", "name": "Why", "lastModified": 5, "currNode": "a2"}, "messages": said}
        (tmp_path / "theirs.json").write_text(json.dumps([theirs]))
        open_drawer(page, "Chats")
        page.get_by_label("A file of chats").set_input_files(tmp_path / "theirs.json")
        page.get_by_text("1 of 1 chats imported.").wait_for()
        page.locator("#history .open").click()
        page.get_by_text("Second").wait_for()
        assert page.locator("article").count() == 2 and page.locator(".branches").inner_text() == "1 / 2"
        assert page.locator(".user .body").inner_text() == "Why?\n\nn.txt:\n\nnoted"

    def test_bad_files(self, page: Any, tmp_path: Path) -> None:
        message = {"id": 0, "parent": -1, "role": "user", "content": "x"}
        chat = {"id": "a", "kind": "chat", "changed": 1, "leaf": 0, "messages": [message]}
        bad = [
            "{",
            {"format": "other"},
            "null",
            "[[" * 50_000,
            '{"__proto__": {"format": "llamatw.chats", "version": 1, "chats": []}}',
            {"conv": {"id": 1}, "messages": []},
            {"conv": {"id": "a", "lastModified": 1}, "messages": [{"id": "b", "role": "user", "content": None}]},
            {"conv": {"id": "a", "lastModified": 1}, "messages": [None, 3, {"id": "b", "role": "assistant"}]},
            {"format": "llamatw.chats", "version": 2, "chats": []},
            [chat | {"leaf": 7}],
            [chat | {"messages": [message | {"parent": 0}]}],
            [chat | {"messages": [message | {"role": "system"}]}],
            [chat | {"messages": [message | {"images": ["http://x.y/z.png"]}]}],
        ]
        open_drawer(page, "Chats")
        for content in bad:
            whole = (
                {"format": "llamatw.chats", "version": 1, "chats": content} if isinstance(content, list) else content
            )
            (tmp_path / "bad.json").write_text(whole if isinstance(whole, str) else json.dumps(whole))
            page.get_by_label("A file of chats").set_input_files(tmp_path / "bad.json")
            page.get_by_text("That file cannot be imported").wait_for()
            page.evaluate("document.querySelector('.toast span').textContent = ''")
        assert page.evaluate("import('./chats.js').then((chats) => chats.list())") == []

    def test_search(self, page: Any, server: Any) -> None:
        server.script = ["The answer is forty-two."]
        for text in ("Of cats", "Of dogs"):
            page.get_by_label("New chat").click()
            page.get_by_role("heading", name="What is on your mind?").wait_for()
            say(page, text)
            answered(page)
            server.script = ["Nothing."]
        open_drawer(page, "Chats")
        page.get_by_label("Search all chats").fill("FORTY")
        page.get_by_text("1 found").wait_for(state="attached")
        assert page.locator("#history .open").all_inner_texts() == ["Of cats"]
        page.get_by_label("Search all chats").fill("forty-three")
        page.get_by_text("Nothing found.").wait_for()
