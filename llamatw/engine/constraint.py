"""What a sequence may say next.  A Constraint is compiled once and shared; a Guard is one sequence's place in it.

    each step     guard.row()      -> a mask for the row, and guesses at what is forced, each with a mask of its own
    each token    guard.advance()

Masks depend on the tokens taken alone, so a sequence that is closed and opened again gets the same ones.  A Guard fails
closed: what cannot go on, or costs too much, raises, and the sequence ends.  Engine's thread.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from llamatw.errors import BadRequest

Kind = Literal["gbnf", "lark", "json_schema"]

_FREE_S = 0.003  # of processor time that a step may always take
_CREDIT_S = 0.25  # beyond that, over the whole sequence: neighbours wait for it
_AHEAD_S = 0.005  # that a sequence may be ahead of what it pays
_NO_GUESSES_S = 0.001  # a mask that took longer is the only one of its step


class Pattern(msgspec.Struct, frozen=True):
    """A regular expression, in RE2's syntax."""

    text: str
    is_full: bool = False  # it must fit all that was said, not a part


class Wish(msgspec.Struct, frozen=True):
    """What a request asks for, as it was given."""

    kind: Kind
    text: str
    field: str  # of the request, for errors
    words: tuple[str, ...] = ()  # triggers: GBNF holds from the first that is read ...
    tokens: tuple[int, ...] = ()  # ... or sampled ...
    patterns: tuple[Pattern, ...] = ()  # ... or found; without any, from the beginning
    thought: tuple[str, str] | None = None  # tags: ... or behind it; the first may come first, "": it has

    @property
    def is_lazy(self) -> bool:
        return bool(self.words or self.tokens or self.patterns)


class Place(Protocol):
    """Where a text is in its grammar.  LlamatwError: it cannot go on."""

    def mask(self) -> bytes:
        """One bit per token, in 32-bit words: 1 = may follow; what ends generation only where the text may end."""

    def advance(self, token: int) -> bool:
        """False, or LlamatwError: the token may not follow."""

    def forced(self) -> bytes:
        """The beginning of what must follow, whatever is sampled."""

    def after(self, tokens: Iterable[int]) -> list[bytes]:
        """The masks behind each of the tokens, up to the first that may not follow.  The place stays where it is."""


Begin = Callable[[], Place]


class Constraint:
    """Compiled; any thread."""

    def __init__(
        self,
        wish: Wish,
        begin: Begin,
        tokenize: Callable[[bytes], list[int]],
        is_worn: Callable[[], bool] = lambda: False,
    ) -> None:
        """is_worn: it is no good for more sequences."""
        self.wish = wish
        self.begin = begin
        self.tokenize = tokenize
        self.is_worn = is_worn


class Guard:
    def __init__(
        self, constraint: Constraint, taken: Iterable[int] = (), clock: Callable[[], float] = time.thread_time
    ) -> None:
        """taken: what the sequence has said so far.  clock: seconds of processor time."""
        self.field = constraint.wish.field
        self._constraint = constraint
        self._clock = clock
        self._place = constraint.begin()
        self._masks: list[bytes] = []  # for the next token, and behind each of the guesses
        self._guesses: list[int] = []
        self._debt_s = self._spent_s = 0.0
        self.owed_s = -_AHEAD_S  # to those who generate beside it
        for token in taken:
            self.advance(token)
        self._spent_s = 0.0

    def row(self, n_draft: int) -> tuple[bytes, array[int]]:
        """At most n_draft guesses, and 1 + as many masks, one behind the other."""
        started = self._clock()
        if not self._masks:
            self._masks = [self._place.mask()]
            is_cheap = self._clock() - started < _NO_GUESSES_S
            self._guesses = self._constraint.tokenize(self._place.forced()) if is_cheap else []
        n = min(n_draft, len(self._guesses))
        if n >= len(self._masks):
            self._masks[1:] = self._place.after(self._guesses[:n])
        if n >= len(self._masks):  # the grammar allows the bytes, but not in these tokens
            n = len(self._masks) - 1
            del self._guesses[n:]
        self._charge(self._clock() - started + self._spent_s)
        return b"".join(self._masks[: 1 + n]), array("i", self._guesses[:n])

    def advance(self, token: int) -> None:
        started = self._clock()
        if not self._place.advance(token):
            raise self.failure(f"the grammar does not allow token {token}, which was sampled")
        self._masks, self._guesses = [], []
        self._spent_s += self._clock() - started

    def pay(self, seconds: float) -> None:
        """Its share of a step that others had."""
        self.owed_s = max(self.owed_s - seconds, -_AHEAD_S)

    def failure(self, reason: str) -> BadRequest:
        return BadRequest(f"{self.field}: {reason}", self.field)

    def _charge(self, seconds: float) -> None:
        self.owed_s += seconds
        self._debt_s, self._spent_s = max(0.0, self._debt_s + seconds - _FREE_S), 0.0
        if self._debt_s > _CREDIT_S:
            raise self.failure("what it allows takes too long to find out")
