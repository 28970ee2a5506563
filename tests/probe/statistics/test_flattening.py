from __future__ import annotations

import numpy as np

from gradtracer.statistics.flattening import flattening_power


def slow_gini(x: np.ndarray) -> float:
    """Half the relative mean difference of all pairs."""
    return float(np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean()))


def test_it_is_the_smallest_power_that_reaches_the_limit() -> None:
    counts = np.round(1e6 / np.arange(1, 501) ** 1.2).astype(int)
    power = flattening_power(counts, 0.5)
    assert slow_gini(counts ** (1 - power)) <= 0.5 < slow_gini(counts ** (1.05 - power))


def test_rows_that_are_even_need_the_least_power_and_a_limit_of_zero_the_most() -> None:
    assert flattening_power(np.full(50, 9), 0.5) == 0.05
    assert flattening_power(np.arange(1, 50), 0.0) == 1.0


def test_rows_never_seen_have_no_part_in_it() -> None:
    counts = np.arange(1, 400) ** 3
    padded = np.concatenate([counts, np.zeros(5_000, dtype=int)])
    assert flattening_power(padded, 0.3) == flattening_power(counts, 0.3) > 0.05
