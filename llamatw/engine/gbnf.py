"""GBNF grammars, compiled by the engine's library, as constraints."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from llamatw.engine.constraint import Constraint, Wish
from llamatw.errors import BadRequest, EngineFailure

_FORCED_BYTES = 96  # enough for the guesses of a step


class StateLike(Protocol):
    """What a GrammarState and a fake one both are."""

    def fork(self) -> StateLike: ...
    def copy_from(self, other: Any) -> None: ...
    def close(self) -> None: ...
    def advance(self, token: int) -> bool: ...
    def mask(self) -> tuple[bytes, int]: ...
    def forced(self, n_bytes: int = ...) -> bytes: ...


class GrammarLike(Protocol):
    """What a Grammar and a fake one both are."""

    def begin(self) -> StateLike: ...
    def close(self) -> None: ...


class GbnfPlace:
    """Closes its states when nobody holds it any more, and keeps the grammar until then."""

    def __init__(self, grammar: GrammarLike, field: str) -> None:
        self._state = grammar.begin()
        self._spare = self._state.fork()
        self._grammar = grammar
        self._field = field
        weakref.finalize(self, self._state.close)
        weakref.finalize(self, self._spare.close)

    def mask(self) -> bytes:
        with self._limited():
            return self._mask(self._state)

    def advance(self, token: int) -> bool:
        with self._limited():
            return self._state.advance(token)

    def forced(self) -> bytes:
        with suppress(EngineFailure):  # too costly to guess
            return self._state.forced(_FORCED_BYTES)
        return b""

    def after(self, tokens: Iterable[int]) -> list[bytes]:
        masks: list[bytes] = []
        self._spare.copy_from(self._state)
        with suppress(EngineFailure, BadRequest):  # a guess that leads nowhere is none
            for token in tokens:
                if not self._spare.advance(token):
                    break
                masks.append(self._mask(self._spare))
        return masks

    def _mask(self, state: StateLike) -> bytes:
        bits, n_allowed = state.mask()
        if not n_allowed:
            raise BadRequest(f"{self._field}: no token of the vocabulary can follow", self._field)
        return bits

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Whoever sends a grammar answers for its limits."""
        try:
            yield
        except EngineFailure as error:  # LT_E_LIMIT
            raise BadRequest(f"{self._field}: {error.message}", self._field) from None


def compile_gbnf(
    open_grammar: Callable[..., GrammarLike], wish: Wish, tokenize: Callable[[bytes], list[int]]
) -> Constraint:
    """open_grammar: the engine's.  BadRequest says what is wrong with the grammar."""
    words, tokens = ((), ()) if wish.patterns else (wish.words, wish.tokens)  # patterns wait outside, with the others
    grammar = open_grammar(wish.text, words=words, tokens=tokens)
    constraint = Constraint(wish, partial(GbnfPlace, grammar, wish.field), tokenize)
    weakref.finalize(constraint, grammar.close)
    return constraint
