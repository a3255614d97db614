"""Stop strings over a stream of text pieces.

    held        pieces in            shown out
    "fo"   +    "ot bat"      ->     "foot bat"       the match broke off: everything is released
    "fo"   +    "o bar!"      ->     ""  + word       "foo bar" is complete: nothing of it is shown

Text is held back only while it is a beginning of some stop word, so what has been shown never has to be taken back, and
what is shown in all does not depend on how the text was cut into pieces.  The word that is complete first wins; of two
complete at the same character, the longer.
"""

from __future__ import annotations

from collections.abc import Iterable


class StopScanner:
    """Feed it pieces; it gives back what may be shown.  After `word` is set it gives nothing more."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(words)
        assert all(self._words), "an empty stop word would stop before the first character"
        self._held = ""
        self.word = ""

    def feed(self, piece: str) -> str:
        if self.word:
            return ""
        text = self._held + piece
        match = self._first_match(text)
        if match is not None:
            start, self.word = match
            self._held = ""
            return text[:start]
        cut = self._hold_from(text)
        self._held = text[cut:]
        return text[:cut]

    def finish(self) -> str:
        """What was still held back: no more text will come, so it is no stop word."""
        rest, self._held = self._held, ""
        return rest

    def _first_match(self, text: str) -> tuple[int, str] | None:
        found = ((text.find(word), word) for word in self._words)
        matches = [(start + len(word), start, word) for start, word in found if start >= 0]
        if not matches:
            return None
        _, start, word = min(matches)
        return start, word

    def _hold_from(self, text: str) -> int:
        """Where the longest end of `text` starts that a stop word begins with."""
        longest = max(map(len, self._words), default=1) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            tail = text[start:]
            if any(word.startswith(tail) for word in self._words):
                return start
        return len(text)
