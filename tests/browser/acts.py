"""What a reader does, and how tests wait for what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WEBROOT = Path(__file__).resolve().parents[2] / "webroot"
VENDOR = pytest.mark.skipif(
    not (WEBROOT / "vendor").is_dir(), reason="the page's libraries are not built (make vendor)"
)


def say(page: Any, text: str) -> None:
    """Send, and wait until question and coming reply are on screen."""
    n_shown = page.locator("article").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"article.assistant:nth-child({n_shown + 2})")


def answered(page: Any) -> Any:
    """The last reply, once it has ended and is shown as markdown, or as paragraphs without the libraries."""
    page.wait_for_selector("article.assistant:last-child[aria-busy=false]")
    until_true(page, "!(document.querySelector('.assistant:last-child .body')?.firstChild instanceof Text)")
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
