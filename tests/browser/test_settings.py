"""The settings drawer: what is shown, what is sent, presets, templates, grammars."""

from __future__ import annotations

from typing import Any

from tests.browser.acts import answered, open_drawer, say, until_true


def field(page: Any, name: str) -> Any:
    """A control, in its group that is open."""
    page.evaluate("document.querySelectorAll('details.group').forEach((group) => (group.open = true))")
    return page.locator(f"[id='set-{name}']")


class TestSettings:
    def test_only_changed_values_are_sent(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        until_true(page, "document.querySelector('#set-temperature')?.placeholder === '0.8'")
        assert field(page, "seed").get_attribute("placeholder") == "random"
        field(page, "temperature").fill("1.2")
        field(page, "seed").fill("7")
        field(page, "page.system").fill("Be brief.")
        page.keyboard.press("Escape")
        say(page, "Go")
        answered(page)
        sent = server.requests[0]
        assert sent["temperature"] == 1.2 and sent["seed"] == 7
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert not {"top_k", "top_p", "min_p", "repeat_penalty", "max_tokens"} & sent.keys()

    def test_reset_gives_values_back(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        field(page, "top_k").fill("5")
        field(page, "min_p").fill("0.5")
        page.get_by_label("Top-k: back to the server's default").click()
        assert field(page, "top_k").input_value() == "" and field(page, "min_p").input_value() == "0.5"
        page.get_by_role("button", name="Reset all settings").click()
        assert field(page, "min_p").input_value() == ""
        page.get_by_role("button", name="Undo").click()
        assert field(page, "min_p").input_value() == "0.5"
        page.get_by_role("button", name="Reset all settings").click()
        page.reload()
        say(page, "Go")
        answered(page)
        assert server.requests[0].keys() == {
            "messages",
            "stream",
            "stream_options",
            "return_progress",
            "timings_per_token",
        }

    def test_value_out_of_range_is_not_taken(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        field(page, "top_p").fill("3")
        page.keyboard.press("Tab")
        page.locator("#settings").get_by_label("Close").click()
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
