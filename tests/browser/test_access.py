"""What a reader with a screen reader, a keyboard, a phone or another colour scheme gets: axe's rules, in every part."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.acts import answered, open_drawer, say

RICH = (
    "# Title\n\nText `code` [link](http://x.y/)\n\n- a\n- b\n\n```py\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
)


def violations(page: Any) -> list[str]:
    """Rules that are broken seriously, with the place."""
    base = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    page.evaluate(base.AXE_SCRIPT)
    page.wait_for_timeout(150)  # colours that are on their way would be measured in between
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
    return [f"{rule['id']}: {node['html'][:160]}" for rule in serious for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part(page: Any, server: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("localStorage['llamatw.settings'] = '{\"n_probs\": 4}'")
    page.reload()
    page.get_by_text("Tiny-1B").wait_for()
    found = {"first visit": violations(page)}
    server.script, server.probs = [RICH], [0.05, 0.9]
    say(page, "Go")
    answered(page)
    page.mouse.move(500, 300)
    found["chat"] = violations(page)
    page.get_by_label("Make another reply").click()
    page.get_by_text("2 / 2").wait_for()
    answered(page).get_by_label("Token probabilities").click()
    page.locator(".tokens .token").first.click()
    found["probabilities"] = violations(page)
    page.keyboard.press("Escape")
    page.locator(".user").get_by_label("Edit the message").click()
    found["editor"] = violations(page)
    page.keyboard.press("Escape")
    for label in ("Chats", "Server", "Settings"):
        open_drawer(page, label)
        page.evaluate("document.querySelectorAll('details.group').forEach((group) => (group.open = true))")
        page.wait_for_timeout(100)
        found[label] = violations(page)
        page.keyboard.press("Escape")
    page.get_by_label("New chat").click()
    page.get_by_role("button", name="Completion").click()
    page.get_by_label("Text", exact=True).fill("Once")
    found["completion"] = violations(page)
    assert {part: broken for part, broken in found.items() if broken} == {}
