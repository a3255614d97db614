"""Prompts: whose is read next, how far, and what it takes from others.

Prompt tokens go to the owner (API key) that has had fewest of them.  Among an owner's prompts the one goes first that
is due first: at its arrival plus its length, in prompt tokens read.  So short prompts overtake long ones, and a prompt
is overtaken by no more tokens than it has itself.

A prompt that begins like another one that is being read waits for it and takes what that one has computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llamatw.capi.records import Row
from llamatw.engine.sequence import Sequence
from llamatw.engine.stats import Counters
from llamatw.engine.turns import MIN_SHARED, Shares, n_shared


class Reading:
    def __init__(self, adopt: Callable[[int], int], counters: Counters, group_w: int) -> None:
        """adopt: makes a sequence take from the cache what is there by now; how far it is computed then.  group_w: as
        in Scheduler."""
        self._adopt = adopt
        self._counters = counters
        self._group_w = group_w
        self._shares = Shares()
        self._n_read = 0  # prompt tokens that plans have given out

    def begin(self, seq: Sequence) -> None:
        """It has got a lane: now it waits for its turns."""
        seq.due = self._n_read + seq.n_behind

    def leave(self, seq: Sequence, others: Iterable[Sequence]) -> None:
        """Who reads knows what is in the cache because of it."""
        for other in others:
            if not other.is_decoding:
                _note_known(other, seq)

    def rows(self, running: list[Sequence], left: int) -> list[Row]:
        """Rows for `left` prompt tokens."""
        rows: list[Row] = []
        ahead: list[Sequence] = []  # who computes in this step
        for seq in self._in_order(running):
            self._take_over(seq, running)
            follows = any(n_shared(seq, other) - other.n_shareable >= MIN_SHARED for other in ahead)
            if left > 0 and not (follows and self._may_share(seq)):
                rows.append(Row(seq.handle, min(seq.n_behind, left, self._room(seq))))
                left -= rows[-1].advance
                ahead.append(seq)
                self._n_read += rows[-1].advance
                self._shares.charge(seq.params.owner, rows[-1].advance)
        return rows

    def count_cached(self, seq: Sequence, n_tokens: int) -> None:
        seq.n_cached += n_tokens
        self._counters.n_cached_tokens += n_tokens

    def _in_order(self, running: Iterable[Sequence]) -> list[Sequence]:
        reading = [seq for seq in running if not seq.is_decoding and not seq.rests]
        self._shares.present({seq.params.owner for seq in reading})
        return sorted(reading, key=lambda seq: (self._shares[seq.params.owner], seq.due, seq.id))

    def _take_over(self, seq: Sequence, running: Iterable[Sequence]) -> None:
        """Takes what others have computed of its prompt meanwhile, if that is worth it."""
        for other in running:
            if other is not seq:
                _note_known(seq, other)
        if self._may_share(seq) and seq.n_known - seq.n_computed >= MIN_SHARED:
            before, seq.n_computed = seq.n_computed, self._adopt(seq.handle)
            if not seq.generated:
                self.count_cached(seq, max(seq.n_computed - before, 0))
        seq.n_known = 0

    def _may_share(self, seq: Sequence) -> bool:
        return seq.params.cache_prompt and not self._group_w

    def _room(self, seq: Sequence) -> int:
        """How far one row may go."""
        return self._group_w - seq.n_computed % self._group_w if self._group_w else seq.n_behind


def _note_known(seq: Sequence, other: Sequence) -> None:
    """How much of its prompt the other one has computed."""
    seq.n_known = max(seq.n_known, min(n_shared(seq, other), other.n_shareable))
