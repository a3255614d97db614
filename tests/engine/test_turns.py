"""What two prompts have in common, counted by halving."""

from __future__ import annotations

from array import array

from llamatw.engine.turns import n_common

LONG = array("i", range(150))


def test_common_heads():
    for length in (0, 1, 2, 63, 149):
        other = LONG[:]
        other[length] ^= 1
        assert n_common(LONG, other) == n_common(other, LONG[: length + 1]) == length
    assert n_common(LONG, LONG[:5]) == 5 and n_common(LONG, LONG) == 150
