"""Contexts that go on when they are full: which tokens are dropped.  Two rules of the old server, to the letter."""

from __future__ import annotations

from typing import NamedTuple

from llamatw.capi.records import ModelInfo
from llamatw.errors import ModelError

_MARGIN = 4  # tokens that are never kept, so that there is something to drop


class Drop(NamedTuple):
    """Tokens [first, first + n) of a history."""

    first: int
    n: int


def check_context(model: ModelInfo) -> None:
    """ModelError for contexts none of whose tokens could be dropped: too small, or in a recurrent state."""
    if model.is_recurrent:
        raise ModelError(f"--context-shift is not served for {model.arch}: recurrent layers forget no single token")
    if model.n_ctx < _MARGIN:
        raise ModelError(f"--context-shift needs a context of {_MARGIN} tokens at least, this one has {model.n_ctx}")


def to_keep(n_keep: int, n_prompt: int, n_ctx: int) -> int:
    """Tokens at the head that stay; a negative wish stands for the whole prompt."""
    return min(n_keep if n_keep >= 0 else n_prompt, n_ctx - _MARGIN)


def of_generation(n_computed: int, n_keep: int, n_discard: int) -> Drop:
    """When the context is full: one token more than n_keep stays (BOS does not count), then n_discard are dropped; 0:
    half of the rest."""
    n_left = n_computed - n_keep - 1
    return Drop(n_keep + 1, min(n_discard or n_left // 2, n_left))


def of_prompt(prompt: list[int], n_keep: int, n_ctx: int) -> list[int]:
    """A prompt that is too long loses whole blocks of half the free context after the head that stays."""
    if len(prompt) < n_ctx:
        return prompt
    n_keep = to_keep(n_keep, len(prompt), n_ctx)
    block = (n_ctx - n_keep) // 2
    n_erased = (len(prompt) - n_keep - block) // block * block
    return prompt[:n_keep] + prompt[n_keep + n_erased :]
