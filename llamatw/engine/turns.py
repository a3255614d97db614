"""Whose turn it is: fair shares of the work between owners, and what two prompts have in common."""

from __future__ import annotations

from array import array
from collections import Counter

from llamatw.engine.sequence import Sequence

_MASK_SHARE = 0.1  # of a step's time
MIN_SHARED = 8  # tokens that are worth a copy, or waiting for


class Shares:
    """What each owner has been given since it came: tokens, or microseconds.  Who comes, or comes back, starts level
    with the one that has had least: nobody saves up while away."""

    def __init__(self) -> None:
        self._had: dict[int, int] = {}

    def present(self, owners: set[int]) -> None:
        """Those who want something now; the others are forgotten."""
        if owners == self._had.keys():
            return
        level = min((had for owner, had in self._had.items() if owner in owners), default=0)
        self._had = {owner: self._had.get(owner, level) for owner in owners}

    def charge(self, owner: int, amount: int) -> None:
        self._had[owner] += amount

    def __getitem__(self, owner: int) -> int:
        return self._had[owner]


def solvent(decoding: list[Sequence], step_s: float) -> list[Sequence]:
    """Who takes part in the next step.  Masks may take a tenth of the time from those beside them, in equal shares for
    owners: whose have taken more sit steps out for that.  Steps that all would sit out are over at once, so nobody runs
    up debts while alone.  step_s: that the last step took."""
    guards = [(seq.guard, seq.params.owner) for seq in decoding if seq.guard is not None]
    if not guards:
        return decoding
    n_of = Counter(owner for _, owner in guards)
    for guard, owner in guards:
        guard.pay(_MASK_SHARE * step_s / (len(n_of) * n_of[owner]))
    if len(guards) == len(decoding):
        least = min((guard.owed_s for guard, _ in guards), default=0.0)
        for guard, _ in guards:
            guard.pay(max(least, 0.0))
    return [seq for seq in decoding if seq.guard is None or seq.guard.owed_s <= 0]


def n_shared(a: Sequence, b: Sequence) -> int:
    """Tokens at the head of a's prompt that b's computing computes for a, too; a must compute its last by itself."""
    if a.params.scope != b.params.scope:
        return 0
    if b.id not in a.overlaps:
        a.overlaps[b.id] = n_common(a.prompt, b.prompt)
    return min(a.overlaps[b.id], a.n_total - 1)


def n_common(a: array[int], b: array[int]) -> int:
    """Length of the common head.  By halving: comparing slices is C, a loop over tokens would be Python."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
