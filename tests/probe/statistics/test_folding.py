from __future__ import annotations

import numpy as np
import pytest

from gradtracer.statistics.folding import shared_look_ups, smallest_folding


def slow_share(counts: np.ndarray, rows: int) -> float:
    most: dict[int, int] = {}
    for id, count in enumerate(counts):
        most[id % rows] = max(most.get(id % rows, 0), int(count))
    return 1 - sum(most.values()) / counts.sum()


@pytest.mark.parametrize("rows", [1, 7, 50, 99, 100, 101, 1000])
def test_it_agrees_with_counting_one_id_at_a_time(rows: int) -> None:
    counts = np.random.default_rng(0).poisson(3, 100)
    assert shared_look_ups(counts, rows) == pytest.approx(slow_share(counts, rows))


def test_a_tail_that_is_never_seen_is_cut_and_shares_nothing() -> None:
    counts = np.zeros(1000, dtype=int)
    counts[:600] = 5
    assert smallest_folding(counts, 0.01) == (600, 0.0)


def test_a_full_table_is_not_folded() -> None:
    assert smallest_folding(np.full(1000, 5), 0.01) is None


def test_ids_that_are_spread_are_folded_as_long_as_few_look_ups_share() -> None:
    counts = np.zeros(100_000, dtype=int)
    counts[np.random.default_rng(1).choice(100_000, 300, replace=False)] = 5
    folding = smallest_folding(counts, 0.01)
    assert folding is not None
    assert 0 < folding.shared <= 0.01
    assert folding.rows < 60_000
    assert folding.shared == pytest.approx(slow_share(counts, folding.rows))


def test_nothing_seen_is_nothing_to_go_by() -> None:
    assert smallest_folding(np.zeros(10, dtype=int), 0.01) is None
    assert shared_look_ups(np.zeros(10, dtype=int), 5) == 0.0
