"""Lanes: who runs in each, and what it did and computed last."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from llamatw.engine.sequence import Sequence
from llamatw.engine.stats import SlotState, slot_state


class Memory(NamedTuple):
    """The ids that a lane has in the prefix cache, unless they were evicted since."""

    scope: int
    ids: array[int]


_NOTHING = Memory(0, array("i"))


class Lanes:
    def __init__(self, n: int) -> None:
        self.now: list[Sequence | None] = [None] * n
        self.past = [SlotState(id=lane) for lane in range(n)]
        self.n_moves = 0  # into lanes and out of them
        self._memories = [_NOTHING] * n

    def __len__(self) -> int:
        return len(self.now)

    @property
    def has_free(self) -> bool:
        return None in self.now

    def enter(self, seq: Sequence) -> None:
        """Into the lane that it had, or wishes for, if that is free."""
        wish = seq.slot if seq.slot >= 0 else seq.params.slot
        seq.slot = wish if 0 <= wish < len(self.now) and self.now[wish] is None else self.now.index(None)
        self.now[seq.slot] = seq
        self.n_moves += 1

    def leave(self, seq: Sequence) -> None:
        self.now[seq.slot] = None
        self.n_moves += 1
        self._memories[seq.slot] = _memory_of(seq)
        self.past[seq.slot] = slot_state(seq, is_processing=False)

    def memory(self, lane: int) -> Memory:
        """What the lane computes, or did last."""
        seq = self.now[lane]
        return self._memories[lane] if seq is None else _memory_of(seq)

    def remember(self, lane: int, memory: Memory = _NOTHING) -> None:
        """An idle lane's memory becomes this."""
        self._memories[lane] = memory


def _memory_of(seq: Sequence) -> Memory:
    return Memory(seq.params.scope, seq.history()[: seq.n_shareable])
