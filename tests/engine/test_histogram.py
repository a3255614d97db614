"""Histograms: right buckets, sums and quantiles, copies that stay as they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamatw.engine.histogram import SECONDS, TOKENS, Distribution, Histogram

values = st.lists(st.floats(0, 2000), min_size=1, max_size=200)


def filled(observations, bounds=SECONDS):
    histogram = Histogram(bounds)
    for value in observations:
        histogram.add(value)
    return histogram.copy()


def test_bounds_are_strictly_ascending():
    for bounds in (SECONDS, TOKENS):
        assert list(bounds) == sorted(set(bounds))
    assert (SECONDS[0], SECONDS[-1], TOKENS[0], TOKENS[-1]) == (0.001, 500.0, 1.0, 131072.0)


def test_a_bound_belongs_to_its_bucket():
    assert filled([1.0, 1.5, 2.0, 2.1, 99.0], bounds=(1.0, 2.0)).counts == (1, 2, 2)


@given(values)
def test_cumulative_counts(observations):
    seen = filled(observations)
    below = [sum(value <= bound for value in observations) for bound in SECONDS]
    assert seen.cumulative() == [*below, len(observations)]
    assert seen.n == len(observations) and math.isclose(seen.total, math.fsum(observations), abs_tol=1e-9)


@given(values, st.floats(0.001, 1))
def test_a_quantile_is_not_below_the_true_one_nor_above_the_largest(observations, q):
    rank = max(math.ceil(q * len(observations)), 1)
    true = sorted(observations)[rank - 1]
    assert true <= filled(observations).quantile(q) <= max(observations)


def test_what_lies_above_all_bounds_has_a_quantile():
    assert filled([900.0] * 3).quantile(0.99) == 900.0


@pytest.mark.parametrize("empty", [Distribution(), Histogram(SECONDS).copy()])
def test_nothing_observed(empty):
    assert (empty.n, empty.total, empty.quantile(0.99), empty.cumulative()[-1]) == (0, 0.0, 0.0, 0)


def test_a_copy_stays_as_it_is():
    histogram = Histogram(TOKENS)
    histogram.add(3)
    before = histogram.copy()
    histogram.add(3)
    assert (before.n, histogram.copy().n) == (1, 2)
    with pytest.raises(AttributeError):
        before.total = 1.0
