"""Intervals that hold at every look, for rows that are seen again and again."""

from __future__ import annotations

import numpy as np
import pytest

from gradtracer.auto_fix.confidence_sequence import difference, smallest_effect

LOOKS = 40


def watched(
    seed: int, *, effect: float = 0.0, rows: int = 400, holdout: float = 0.2
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outcomes of both arms at each look: a row's own heavy-tailed level, and a slow wander."""
    random = np.random.default_rng(seed)
    held = random.random(rows) < holdout
    own, wander = random.standard_t(4, rows), np.zeros(rows)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(LOOKS):
        wander = 0.9 * wander + 0.5 * random.standard_t(4, rows)
        now = own + wander + np.where(held, 0.0, effect)
        found.append((now[~held], now[held]))
    return found


def misses(runs: int, *, spend: bool) -> float:
    """Share of runs in which the interval of any look leaves zero out."""
    missed = 0
    for seed in range(runs):
        for look, (treated, held) in enumerate(watched(seed), 1):
            one = difference(treated, held, alpha=0.05, look=look if spend else 1)
            if one is not None and not one.low <= 0 <= one.high:
                missed += 1
                break
    return missed / runs


def test_all_looks_together_cover_and_without_spending_they_would_not():
    # Two binomial standard errors of 200 runs above the level of 5 %.
    assert misses(200, spend=True) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    # `look=1` has half of alpha at every look.
    assert misses(200, spend=False) > 0.1


@pytest.mark.parametrize(("treated", "held", "look"), [(320, 80, 10), (80, 20, 1), (20, 5, 3)])
def test_the_documented_effect_is_found_in_nine_runs_of_ten(treated: int, held: int, look: int):
    size = smallest_effect(treated, held, alpha=0.05, look=look)

    def power(effect: float, runs: int = 1_000) -> float:
        random, found = np.random.default_rng(0), 0
        for _ in range(runs):
            arms = random.normal(size=treated) - effect, random.normal(size=held)
            one = difference(*arms, alpha=0.05, look=look)
            found += one is not None and one.high < 0
        return found / runs

    assert power(size) >= 0.9 - 2 * (0.9 * 0.1 / 1_000) ** 0.5
    # It is the smallest such size, and not just a large one.
    assert power(0.85 * size) < 0.9


def test_it_is_the_difference_of_means_with_its_arms():
    one = difference(np.arange(10.0), np.arange(6.0), alpha=0.05, look=1)
    assert one is not None
    assert one.value == pytest.approx(2.0, abs=0.2)
    assert one.low < one.value < one.high
    assert (one.n_treated, one.n_held_out) == (10, 6)


@pytest.mark.parametrize("few", [0, 4])
def test_few_rows_in_an_arm_say_nothing(few: int):
    assert difference(np.arange(100.0), np.arange(float(few)), alpha=0.05, look=1) is None
    assert difference(np.arange(float(few)), np.arange(100.0), alpha=0.05, look=1) is None


def test_what_is_not_finite_is_left_out():
    values = np.array([1.0, np.nan, 2.0, np.inf, 3.0, 4.0, 5.0])
    one = difference(values, values, alpha=0.05, look=1)
    assert one is not None
    assert one.n_treated == 5
    assert one.value == 0


def test_one_wild_row_moves_little():
    calm = np.random.default_rng(0).normal(size=200)
    wild = calm.copy()
    wild[0] = 1e9
    one = difference(wild, calm, alpha=0.05, look=1)
    assert one is not None
    assert abs(one.value) < 0.1


def test_rows_all_alike_differ_by_nothing():
    one = difference(np.ones(9), np.ones(9), alpha=0.05, look=1)
    assert one is not None
    assert one.value == 0
    assert -1e-6 < one.low < 0 < one.high < 1e-6


def test_later_looks_are_wider():
    random = np.random.default_rng(0)
    arms = random.normal(size=80), random.normal(size=20)
    widths = [
        one.high - one.low
        for look in (1, 2, 10, 1_000)
        if (one := difference(*arms, alpha=0.05, look=look)) is not None
    ]
    assert widths == sorted(widths)
    assert widths[-1] < 4 * widths[0]


def test_rounding_is_not_an_effect() -> None:
    """Rows that do the same, told in float32: all of an arm can be off by the last digit."""
    same = np.full(40, 2.0)
    rounded = np.float64(np.nextafter(np.float32(2.0), np.float32(3.0)))
    one = difference(np.full(40, rounded) + np.linspace(0, 1e-9, 40), same, alpha=0.05, look=1)
    assert one is not None and one.value > 0
    assert one.low < 0 < one.high
    one = difference(np.full(40, 2.0 + 1e-5), same, alpha=0.05, look=1)
    assert one is not None and one.low > 0
