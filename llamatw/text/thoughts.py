"""Thoughts: the block between two tags with which a model may begin its answer."""

from __future__ import annotations

import itertools
from typing import NamedTuple

_TAGS = (("<think>", "</think>"), ("<seed:think>", "</seed:think>"))


class Tags(NamedTuple):
    opening: str  # "": the prompt has opened the thought
    closing: str


def tags_ahead(template: str, behind_messages: str) -> Tags | None:
    """What the model may think between, or thinks between already, when it goes on from a prompt.

    behind_messages: the end of the prompt, which the template has put there, and what the answer begins with.
    """
    known = next((tags for tags in _TAGS if tags[1] in template), None)
    if known is None:
        return None
    opening, closing = known
    opened, closed = behind_messages.rfind(opening), behind_messages.rfind(closing)
    if opened == closed:
        return Tags(opening, closing)
    return Tags("", closing) if opened > closed else None


def without_tags(text: str) -> str:
    """For looking at what else a text holds."""
    for tag in itertools.chain(*_TAGS):
        text = text.replace(tag, "\n")
    return text


class Splitter:
    """Tells a thought from the answer behind it, piece by piece.  The space around both belongs to neither."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._is_open = not tags.opening
        self._is_over = self._has_begun = False  # of the thought; of what comes now
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """How thought and answer go on."""
        self._held += text
        if not self._has_begun:
            self._held = self._held.lstrip()
        if not self._is_open and not self._is_over:
            self._look_at_beginning()
        thought = self._thought() if self._is_open else ""
        answer = self._take(len(self._held)) if self._is_over else ""
        return thought, answer

    def finish(self) -> tuple[str, str]:
        """What had been held back: it might have been a tag."""
        rest, self._held = self._held, ""
        return (rest.rstrip(), "") if self._is_open else ("", rest)

    def _look_at_beginning(self) -> None:
        opening = self._tags.opening
        if self._held.startswith(opening):
            self._is_open, self._held = True, self._held[len(opening) :].lstrip()
        elif not opening.startswith(self._held):
            self._is_over = True

    def _thought(self) -> str:
        closing = self._tags.closing
        at = self._held.find(closing)
        if at < 0:
            n_held = next(n for n in range(len(closing) - 1, -1, -1) if self._held.endswith(closing[:n]))
            return self._take(len(self._held[: len(self._held) - n_held].rstrip()))
        said = self._take(len(self._held[:at].rstrip()))
        self._held = self._held[self._held.index(closing) + len(closing) :].lstrip()
        self._is_open, self._is_over, self._has_begun = False, True, False
        return said

    def _take(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        self._has_begun = self._has_begun or bool(text)
        return text
