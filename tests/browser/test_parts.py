"""The parts of the page beside the talk: probabilities, completion mode, pictures, the server at work."""

from __future__ import annotations

import re
import struct
import threading
import zlib
from typing import Any

import pytest

from tests.browser.acts import VENDOR, answered, open_drawer, say, until, until_true


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


class TestProbabilities:
    def test_colours_and_alternatives(self, page: Any, server: Any) -> None:
        page.evaluate("localStorage['llamatw.settings'] = '{\"n_probs\": 4}'")
        page.reload()
        server.probs = [0.2, 0.7]
        server.script = ["Sure", " thing", "."]
        say(page, "Go")
        answered(page).get_by_label("Token probabilities").click()
        assert server.requests[0]["n_probs"] == 4
        page.get_by_text("3 of 3 tokens were less likely than 50 %").wait_for()
        tokens = page.locator(".tokens .token")
        assert tokens.all_text_contents() == ["Sure", " thing", "."]
        assert tokens.first.get_attribute("data-p") == "1" and tokens.first.get_attribute("data-other") == ""
        tokens.nth(1).click()
        rows = page.locator(".alternatives tr")
        assert rows.all_inner_texts() == ["<b>other</b>\t\t70.0 %", "·thing\t\t20.0 %"]
        page.keyboard.press("Escape")
        tokens.nth(0).focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.locator(".alternatives").wait_for()
        page.keyboard.press("Escape")
        page.get_by_label("Token probabilities").click()
        assert answered(page).locator(".body").inner_text() == "Sure thing."

    def test_characters_of_several_tokens(self, page: Any) -> None:
        shown = page.evaluate(
            """async () => {
                const { Probabilities } = await import("./probs.js");
                const root = document.createElement("div");
                const entry = (...bytes) => ({ token: "\\ufffd", bytes, prob: 1, top: [] });
                new Probabilities(root, [entry(0xf0, 0x9f), entry(0x90, 0x88), entry(0x61)]);
                return [...root.querySelectorAll(".tokens .token")].map((node) => node.textContent);
            }"""
        )
        assert shown == ["", "🐈", "a"]


class TestCompletion:
    def test_the_text_goes_on(self, page: Any, server: Any) -> None:
        page.get_by_role("button", name="Completion").click()
        sheet = page.get_by_label("Text", exact=True)
        sheet.fill("Once")
        gate = threading.Event()
        server.script = [" upon", gate, " a time"]
        page.keyboard.press("Control+Enter")
        until(lambda: sheet.input_value() == "Once upon", page)
        page.get_by_role("button", name="Stop").wait_for()
        gate.set()
        page.get_by_role("button", name="Go on").wait_for()
        assert sheet.input_value() == "Once upon a time"
        assert server.requests[0]["prompt"] == "Once" and "messages" not in server.requests[0]
        page.reload()
        until(lambda: page.get_by_label("Text", exact=True).input_value() == "Once upon a time", page)

    def test_undo_stop_and_back_to_chat(self, page: Any, server: Any) -> None:
        page.get_by_role("button", name="Completion").click()
        sheet = page.get_by_label("Text", exact=True)
        sheet.fill("A")
        server.script = [" b", threading.Event()]
        page.get_by_role("button", name="Go on").click()
        until(lambda: sheet.input_value() == "A b", page)
        page.keyboard.press("Escape")
        until(server.hung_up.is_set, page)
        page.get_by_role("button", name="Undo").click()
        until(lambda: sheet.input_value() == "A", page)
        page.get_by_label("New chat").click()
        server.script = ["Hello."]
        say(page, "Hi")
        assert "Hello." in answered(page).inner_text()
        open_drawer(page, "Chats")
        page.get_by_role("button", name="A", exact=True).click()
        until(lambda: page.get_by_label("Text", exact=True).input_value() == "A", page)

    def test_lost_connection_is_resumed(self, page: Any, server: Any) -> None:
        page.get_by_role("button", name="Completion").click()
        sheet = page.get_by_label("Text", exact=True)
        sheet.fill("A")
        gate = threading.Event()
        server.script = [" b", gate, None]
        page.get_by_role("button", name="Go on").click()
        until(lambda: sheet.input_value() == "A b", page)
        server.script = [" c"]
        gate.set()
        until(lambda: sheet.input_value() == "A b c", page)
        assert server.requests[-1]["prompt"] == "A b"


class TestPictures:
    def test_only_where_the_model_sees(self, page: Any, server: Any) -> None:
        page.get_by_text("Tiny-1B").wait_for()
        assert page.get_by_label("Attach a picture").is_hidden()

    def test_upload_and_leave_out(self, page: Any, server: Any) -> None:
        server.vision = True
        page.reload()
        page.get_by_label("Attach a picture").wait_for()
        files = [{"name": name, "mimeType": "image/png", "buffer": png()} for name in ("cat.png", "dog.png")]
        page.locator(".composer input[type=file]").set_input_files(files)
        page.get_by_label("Leave out dog.png").click()
        say(page, "What is this?")
        answered(page)
        [message] = server.requests[0]["messages"]
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        assert message["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
        page.reload()
        page.get_by_alt_text("An attached picture").wait_for()
        until_true(page, "document.querySelector('.pictures img').naturalWidth === 1")

    def test_templates_of_the_page_take_none(self, page: Any, server: Any) -> None:
        server.vision = True
        page.evaluate("localStorage['llamatw.settings'] = '{\"page.template_kind\": \"own\"}'")
        page.reload()
        page.get_by_label("Attach a picture").wait_for()
        cat = {"name": "cat.png", "mimeType": "image/png", "buffer": png()}
        page.locator(".composer input[type=file]").set_input_files([cat])
        say(page, "What is this?")
        assert "Pictures need the model's own prompt template" in answered(page).inner_text()
        assert server.requests == []

    def test_paste_and_no_picture(self, page: Any, server: Any) -> None:
        server.vision = True
        page.reload()
        page.get_by_label("Attach a picture").wait_for()
        page.evaluate(
            """(bytes) => {
                for (const [name, type] of [["a.png", "image/png"], ["b.txt", "text/plain"]]) {
                    const clipboardData = new DataTransfer();
                    clipboardData.items.add(new File([new Uint8Array(bytes)], name, { type }));
                    const event = new ClipboardEvent("paste", { clipboardData, bubbles: true });
                    document.querySelector(".composer textarea").dispatchEvent(event);
                }
            }""",
            list(png()),
        )
        page.get_by_text("b.txt is no picture.").wait_for()
        assert page.locator(".attached img").count() == 1


class TestMonitor:
    def test_slots_queue_and_pace(self, page: Any, server: Any) -> None:
        open_drawer(page, "Server")
        page.get_by_text("writing, 7 tokens").wait_for()
        page.get_by_text("idle").wait_for()
        page.locator(".chart polyline").wait_for(state="attached")
        shown = dict(row.split("\n") for row in page.locator(".numbers div").all_inner_texts())
        assert shown["Waiting"] == "5" and shown["Prompt tokens from the cache"] == "25 %"
        assert shown["Memory for tokens"] == "25 % in use, 25 % kept" and shown["First token, on average"] == "0.50 s"
        page.keyboard.press("Escape")
        n_looks = server.paths.count("/slots")
        page.wait_for_timeout(1300)
        assert server.paths.count("/slots") <= n_looks + 1  # it looks only while it is open

    def test_without_metrics(self, page: Any, server: Any) -> None:
        server.metrics = False
        open_drawer(page, "Server")
        page.get_by_text("started without --metrics").wait_for()
        page.get_by_text("writing, 7 tokens").wait_for()


class TestRich:
    TEXT = "Let $x^2$ be\n\n```py\ndef f(x): return '<b>'\n```\n\n$$\\frac{1}{2}$$\n"

    @VENDOR
    def test_formulas_and_colours(self, page: Any, server: Any) -> None:
        server.script = [
            self.TEXT,
            "\\(\\href{javascript:window.hit=1}{x}\\) \\(\\includegraphics{http://x.y/z}\\) $5 and $6",
        ]
        say(page, "Go")
        reply = answered(page)
        page.locator(".code .hljs-keyword").first.wait_for()
        page.locator(".math.block .katex").wait_for(state="attached")
        assert reply.locator("code").inner_text().strip() == "def f(x): return '<b>'"
        assert "$5 and $6" in reply.inner_text()
        assert reply.locator("a, img").count() == 0

    def test_paragraphs_without_the_libraries(self, page: Any, server: Any) -> None:
        page.route("**/vendor/**", lambda route: route.abort())
        gate = threading.Event()
        server.script = ["One *a*.\n\n", "- two", gate, "\nthree\n\nfour"]
        say(page, "Go")
        page.get_by_text("- two").wait_for()
        first = page.locator("article.assistant p").first.element_handle()
        gate.set()
        reply = answered(page)
        assert reply.locator("p").all_inner_texts() == ["One *a*.", "- two\nthree", "four"]
        assert first.evaluate("node => node.isConnected")

    @VENDOR
    def test_plain_without_colours_and_maths(self, page: Any, server: Any) -> None:
        page.route(re.compile(r"/vendor/(highlight|katex)"), lambda route: route.abort())
        server.script = [self.TEXT]
        with page.expect_event("requestfailed", lambda request: "katex" in request.url):
            say(page, "Go")
        reply = answered(page)
        assert reply.locator(".math").all_inner_texts() == ["$x^2$", "$$\\frac{1}{2}$$"]
        assert reply.locator("code").inner_text() == "def f(x): return '<b>'"

    @VENDOR
    def test_thoughts_are_folded(self, page: Any, server: Any) -> None:
        gate = threading.Event()
        server.script = ["<think>\nHm, *well*", gate, ".\n</think>\n\nThe **answer**."]
        say(page, "Go")
        page.get_by_text("Thoughts").click()
        page.get_by_text("Hm, well").wait_for()
        gate.set()
        reply = answered(page)
        assert reply.locator("details").get_attribute("open") == "" and reply.locator("strong").inner_text() == "answer"

    @VENDOR
    @pytest.mark.parametrize(
        "parts",
        [
            [
                {"choices": [{"delta": {"reasoning_content": "Hm, "}}]},
                {"choices": [{"delta": {"reasoning_content": "so."}}]},
                "Yes.",
            ],
            ["Hm, so.\n", "</think>\n\nYes."],
        ],
        ids=["told apart", "opened by the template"],
    )
    def test_thoughts_however_they_come(self, page: Any, server: Any, parts: list[Any]) -> None:
        server.script = parts
        say(page, "Go")
        reply = answered(page)
        assert reply.locator(".thoughts div").text_content() == "Hm, so."
        assert reply.locator(".body > p").inner_text() == "Yes."


class TestContext:
    def test_long_prompt(self, page: Any, server: Any) -> None:
        gate = threading.Event()
        progress = {"total": 1000, "cache": 200, "processed": 600, "time_ms": 5}
        server.script = [{"choices": [{"delta": {}}], "prompt_progress": progress}, gate, "Done."]
        say(page, "Go")
        page.get_by_text("Reading the prompt: 600 of 1000 tokens").wait_for()
        assert page.locator(".reading progress").evaluate("bar => bar.value / bar.max") == 0.5
        gate.set()
        assert "Reading" not in answered(page).inner_text()
        assert page.locator(".context").inner_text().strip() == "13 of 2,048 tokens of context"

    def test_what_a_message_would_take(self, page: Any, server: Any) -> None:
        page.get_by_text("Tiny-1B").wait_for()
        page.get_by_label("Message", exact=True).fill("x" * 300)
        page.get_by_text("300 of 2,048 tokens of context, with this message").wait_for()
        page.get_by_label("Message", exact=True).fill("")
        page.locator(".context").wait_for(state="hidden")
        page.evaluate("localStorage['llamatw.settings'] = '{\"page.template_kind\": \"own\"}'")
        page.reload()
        page.get_by_text("Tiny-1B").wait_for()
        page.get_by_label("Message", exact=True).fill("x" * 300)
        page.get_by_text("tokens of context, with this message").wait_for()
        assert server.requests == []
