"""Inequality of exposure against brute force."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.gini import exposure_entropy, gini, lorenz_curve

counts_strategy = st.lists(st.integers(0, 50), min_size=1, max_size=25)


def slow_gini(counts: list[int]) -> float:
    """Mean absolute difference of all pairs over twice the mean."""
    seen = [c for c in counts if c > 0]
    n, mean = len(seen), sum(seen) / len(seen)
    return sum(abs(a - b) for a in seen for b in seen) / (2 * n * n * mean)


@given(counts_strategy)
def test_gini_equals_the_mean_difference_of_all_pairs(counts: list[int]) -> None:
    found = gini(np.array(counts))
    seen = [c for c in counts if c > 0]
    if len(seen) < 2:
        assert found is None
        return
    assert found is not None
    assert found.n == len(seen)
    assert found.value == pytest.approx(slow_gini(counts), abs=1e-12)


@given(counts_strategy)
def test_standard_error_equals_leaving_out_each_row_by_hand(counts: list[int]) -> None:
    seen = [c for c in counts if c > 0]
    found = gini(np.array(counts))
    if found is None or len(seen) < 3:
        return
    left_out = np.array([slow_gini(seen[:k] + seen[k + 1 :]) for k in range(len(seen))])
    n = len(seen)
    error = math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    assert found.error == pytest.approx(error, abs=1e-9)


def test_standard_error_is_the_spread_over_samples() -> None:
    rng = np.random.default_rng(0)
    samples = [gini(np.ceil(rng.exponential(100.0, 400)).astype(np.int64)) for _ in range(200)]
    values = [s.value for s in samples if s is not None]
    errors = [s.error for s in samples if s is not None]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_even_exposure_has_no_inequality() -> None:
    found = gini(np.full(100, 7))
    assert found is not None
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.error == pytest.approx(0.0, abs=1e-12)


def test_large_counts_do_not_overflow() -> None:
    big = np.full(1_000, 2**40)
    big[0] = 1
    found = gini(big)
    assert found is not None
    assert 0.0 < found.value < 0.01


def test_entropy_equals_its_definition_and_is_zero_with_nothing_seen() -> None:
    assert exposure_entropy(np.zeros(4, dtype=np.int64)) == 0.0
    assert exposure_entropy(np.array([5, 0, 0])) == 0.0
    assert exposure_entropy(np.array([1, 1, 2, 0])) == pytest.approx(1.5 * math.log(2))


@given(counts_strategy)
def test_lorenz_curve_rises_from_none_to_all_below_the_diagonal(counts: list[int]) -> None:
    curve = lorenz_curve(np.array(counts))
    if not any(counts):
        assert curve == []
        return
    assert len(curve) == 33
    assert (curve[0], curve[-1]) == (0.0, pytest.approx(1.0))
    assert all(b >= a - 1e-12 for a, b in pairwise(curve))
    assert all(v <= k / 32 + 1e-9 for k, v in enumerate(curve))


def test_lorenz_curve_holds_twice_the_area_of_the_gini_coefficient() -> None:
    counts = np.random.default_rng(1).geometric(0.05, 5_000)
    curve = np.array(lorenz_curve(counts, points=2_001))
    found = gini(counts)
    assert found is not None
    area = ((curve[1:] + curve[:-1]) / 2).mean()
    assert 1 - 2 * area == pytest.approx(found.value, abs=1e-3)
