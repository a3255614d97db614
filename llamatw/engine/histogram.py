"""Histograms with fixed buckets: one observation costs a binary search, a reader gets a copy that never changes."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

SECONDS = tuple(digit * 10.0**power for power in range(-3, 3) for digit in (1.0, 2.5, 5.0))  # 1 ms to 500 s
TOKENS = tuple(float(1 << n) for n in range(18))  # 1 to 131072


class Distribution(msgspec.Struct, frozen=True):
    """What a histogram held at one moment.  counts[n] observations lay above bounds[n - 1] and not above bounds[n];
    the last of them has no bound above."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    total: float = 0.0  # sum of all observations
    largest: float = 0.0

    @property
    def n(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[int]:
        """Observations not above each bound, and at last all."""
        sums, n = [], 0
        for count in self.counts:
            n += count
            sums.append(n)
        return sums

    def quantile(self, q: float) -> float:
        """What at least the part q (above 0, at most 1) of all observations does not exceed; 0 when there are none."""
        rank = q * self.n
        reached = next(at for at, n in enumerate(self.cumulative()) if n >= rank)
        return min(self.bounds[reached], self.largest) if reached < len(self.bounds) else self.largest


class Histogram:
    """Observations are never negative.  One thread adds and copies."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._largest = 0.0
        self._copy: Distribution | None = None  # of what there is now

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value
        self._largest = max(self._largest, value)
        self._copy = None

    def copy(self) -> Distribution:
        if self._copy is None:
            self._copy = Distribution(self._bounds, tuple(self._counts), self._total, self._largest)
        return self._copy
