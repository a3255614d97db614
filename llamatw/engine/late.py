"""Constraints that begin late: where a pattern is found in what has been said, or behind a thought.

    said        Let me see. <call>{"name":      or     <think> Hm, a cat. </think>{"name":
    held               from ^                                                      from ^

Until then anything may be said.  A token that ends the wait may have text beyond; the grammar must allow that, else the
sequence ends: the token was sampled before anybody knew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from typing import Any

from llamatw.engine.constraint import Begin, Pattern, Place
from llamatw.engine.lexicon import Lexicon
from llamatw.errors import BadRequest, NotSupported

_MAX_SAID_BYTES = 1 << 18  # among which patterns are looked for
_FIELD = "grammar_triggers"
_SPACE = b" \t\r\n"
_MAX_REGEX_BYTES = 4 << 20  # of memory
_MAX_WORK = 1 << 24  # bytes times instructions of the pattern, 2 ns each at the worst: groups are found state by state

# All that was said, where its last token begins, and which that is -> where the grammar begins.
Find = Callable[[bytes, int, int], int | None]


class LatePlace:
    """A Place.  begin: the grammar's own."""

    def __init__(self, begin: Begin, find: Find, words: Lexicon, may_end: bool = True) -> None:
        self._begin, self._find, self._words, self._may_end = begin, find, words, may_end
        self._place: Place | None = None
        self._said = b""
        self._tokens: list[tuple[int, int]] = []  # and where each begins

    def mask(self) -> bytes:
        return self._place.mask() if self._place else self._words.everything(but_ends=not self._may_end)

    def advance(self, token: int) -> bool:
        if self._place:
            return self._place.advance(token)
        self._tokens.append((token, len(self._said)))
        self._said += self._words.said(token)
        start = self._find(self._said, self._tokens[-1][1], token)
        return start is None or self._enter(start)

    def forced(self) -> bytes:
        return self._place.forced() if self._place else b""

    def after(self, tokens: Iterable[int]) -> list[bytes]:
        return self._place.after(tokens) if self._place else []

    def _enter(self, start: int) -> bool:
        """Reads what was said from there on: by whole tokens, but for the one that it begins in."""
        self._place = self._begin()
        for token, at in self._tokens:
            piece = self._said[max(at, start) : at + len(self._words.said(token))]
            is_taken = not piece or (at >= start and self._place.advance(token)) or self._spell(piece)
            if not is_taken:
                return False
        return True

    def _spell(self, text: bytes) -> bool:
        assert self._place
        tokens = self._words.spelled(text)
        return bool(tokens) and all(map(self._place.advance, tokens))


class ThoughtPlace:
    """A Place: a grammar, or a thought and then the grammar, as the model likes."""

    def __init__(self, begin: Begin, opening: list[int], behind: LatePlace) -> None:
        """opening: the tokens of the tag."""
        self._grammar: Place | None = begin()
        self._opening, self._behind = opening, behind
        self._n = 0  # tokens of the tag that were said
        self._place: Place | None = None  # once it is clear which it is

    def mask(self) -> bytes:
        if self._place:
            return self._place.mask()
        bits = bytearray(self._grammar.mask() if self._grammar else len(self._behind.mask()))
        token = self._opening[self._n]
        bits[token // 8] |= 1 << token % 8
        return bytes(bits)

    def advance(self, token: int) -> bool:
        if self._place:
            return self._place.advance(token)
        if self._grammar and not (_allows(self._grammar.mask(), token) and self._grammar.advance(token)):
            self._grammar = None
        if token == self._opening[self._n]:
            self._n += 1
            self._place = self._behind if self._n == len(self._opening) else None
            return True
        self._place = self._grammar
        return self._place is not None

    def forced(self) -> bytes:
        return self._place.forced() if self._place else b""

    def after(self, tokens: Iterable[int]) -> list[bytes]:
        return self._place.after(tokens) if self._place else []


def _allows(mask: bytes, token: int) -> bool:
    return bool(mask[token // 8] >> token % 8 & 1)


def end_of(tag: bytes) -> Find:
    """Behind the tag and the space that came in one token with it."""

    def find(said: bytes, last: int, token: int) -> int | None:
        at = said.find(tag, max(0, last - len(tag) + 1))
        return None if at < 0 else len(said) - len(said[at + len(tag) :].lstrip(_SPACE))

    return find


def literal(word: str) -> Pattern:
    return Pattern(re.escape(word))


def first_trigger(patterns: Iterable[Pattern], tokens: Container[int]) -> Find:
    """A token itself; of a match the first group that took part and is not empty, else the whole.  RE2 takes linear
    time.  BadRequest: it refuses a pattern."""
    regex = _regex("|".join(_anchored(pattern) for pattern in patterns))
    limit = min(_MAX_SAID_BYTES, _MAX_WORK // max(1, regex.programsize))

    def find(said: bytes, last: int, token: int) -> int | None:
        if token in tokens:
            return last
        if len(said) > limit:
            raise BadRequest(f"{_FIELD}: none of them came within {limit} bytes", _FIELD)
        match = regex.search(said)
        if match is None:
            return None
        groups = (match.span(n) for n in range(1, regex.groups + 1))
        start: int = next((start for start, end in groups if end > start), match.start())
        return start

    return find


def _anchored(pattern: Pattern) -> str:
    _regex(pattern.text)  # so that it is whole, and a refusal shows it alone
    return rf"\A(?:{pattern.text})\z" if pattern.is_full else f"(?:{pattern.text})"


def _regex(text: str) -> Any:
    """An re2 pattern over bytes."""
    try:
        import re2
    except ImportError:  # it has no wheel for some platforms
        raise NotSupported(f"{_FIELD}: patterns need the package google-re2, which is not installed", _FIELD) from None
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MAX_REGEX_BYTES
    try:
        return re2.compile(text.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")[:200]
        raise BadRequest(f"{_FIELD}: the pattern {text[:100]!r} is refused: {reason}", _FIELD) from None
