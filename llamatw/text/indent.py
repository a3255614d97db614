"""The least indentation of generated lines, over a stream of text pieces.

    n_indent 4     "x = 1\n    y" + " = 2\n  z"     ->     "x = 1\n    y = 2\n"    and the generation is over

The line that the prompt has begun is not looked at.  White space at the start of a line is held back until there is
enough of it, so what has been shown never has to be taken back.
"""

from __future__ import annotations


class IndentScanner:
    """Feed it pieces; it gives back what may be shown.  After `is_short` is set it gives nothing more.

    n_indent counts spaces and tabs alike; with 0 every line is fine."""

    def __init__(self, n_indent: int) -> None:
        self._n_indent = n_indent
        self._lead: str | None = None  # white space of a line that has too little so far; None: in the middle of a line
        self.is_short = False

    def feed(self, piece: str) -> str:
        if not self._n_indent:
            return piece
        shown = []
        for character in piece:
            if self.is_short:
                break
            shown.append(self._take(character))
        return "".join(shown)

    def finish(self) -> str:
        """What was still held back: no more text will come."""
        rest, self._lead = self._lead or "", None
        return rest

    def _take(self, character: str) -> str:
        if self._lead is None:
            self._lead = "" if character == "\n" else None
            return character
        if character not in " \t":
            self.is_short, self._lead = True, None
            return ""
        self._lead += character
        return self.finish() if len(self._lead) == self._n_indent else ""
