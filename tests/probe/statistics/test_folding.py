from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gradtracer.statistics import folding as folding_module
from gradtracer.statistics.folding import Folding, shared_look_ups, smallest_folding


def shared(counts: np.ndarray, rows: int) -> float:
    return shared_look_ups(lambda first, last: counts[first:last], counts.size, rows)


def smallest(counts: np.ndarray, least: float = 0.01) -> Folding | None:
    return smallest_folding(lambda first, last: counts[first:last], counts.size, least)


def slow_share(counts: np.ndarray, rows: int) -> float:
    most: dict[int, int] = {}
    for id, count in enumerate(counts):
        most[id % rows] = max(most.get(id % rows, 0), int(count))
    return 1 - sum(most.values()) / counts.sum()


def slow_folding(counts: np.ndarray, least: float) -> Folding | None:
    """From the whole array, every size of a table tried."""
    best = None
    rows = int(np.flatnonzero(counts)[-1]) + 1
    while rows >= np.count_nonzero(counts) and (found := slow_share(counts, rows)) <= 0.01:
        if rows < (1 - least) * counts.size:
            best = Folding(rows, found)
        rows //= 2
    return best


@pytest.mark.parametrize("block", [1, 8, 30, 16_384])
@pytest.mark.parametrize("rows", [1, 7, 50, 99, 100, 101, 1000])
def test_it_agrees_with_counting_one_id_at_a_time(
    rows: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "_BLOCK", block)
    counts = np.random.default_rng(0).poisson(3, 100)
    assert shared(counts, rows) == pytest.approx(slow_share(counts, rows))


@pytest.mark.parametrize("block", [5, 64, 16_384])
def test_the_smallest_table_is_that_of_the_plain_computation(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "_BLOCK", block)
    random = np.random.default_rng(2)
    kinds = set[bool]()
    for _ in range(60):
        counts = np.zeros(int(random.integers(20, 600)), dtype=np.int32)
        some = random.integers(random.integers(1, counts.size + 1), size=random.integers(1, 30))
        counts[some] = random.geometric(0.02, some.size)
        found, plain = smallest(counts, 0.1), slow_folding(counts, 0.1)
        assert (found and found.rows) == (plain and plain.rows)
        assert (found and found.shared) == pytest.approx(plain and plain.shared)
        kinds.add(found is None or found.shared > 0)
    assert kinds == {True, False}


def test_it_takes_the_memory_of_a_block() -> None:
    size = 1_000_000
    counts = np.zeros(size, dtype=np.int32)
    counts[np.random.default_rng(1).choice(size, 300, replace=False)] = 5
    smallest(counts)
    tracemalloc.start()
    try:
        assert smallest(counts) is not None
        assert tracemalloc.get_traced_memory()[1] < size / 2
        assert (counts > 0).size == size
        assert tracemalloc.get_traced_memory()[1] > size / 2
    finally:
        tracemalloc.stop()


def test_a_tail_that_is_never_seen_is_cut_and_shares_nothing() -> None:
    counts = np.zeros(1000, dtype=int)
    counts[:600] = 5
    assert smallest(counts) == (600, 0.0)


def test_a_full_table_is_not_folded() -> None:
    assert smallest(np.full(1000, 5)) is None


def test_ids_that_are_spread_are_folded_as_long_as_few_look_ups_share() -> None:
    counts = np.zeros(100_000, dtype=int)
    counts[np.random.default_rng(1).choice(100_000, 300, replace=False)] = 5
    folding = smallest(counts)
    assert folding is not None
    assert 0 < folding.shared <= 0.01
    assert folding.rows < 60_000
    assert folding.shared == pytest.approx(slow_share(counts, folding.rows))


def test_nothing_seen_is_nothing_to_go_by() -> None:
    assert smallest(np.zeros(10, dtype=int)) is None
    assert shared(np.zeros(10, dtype=int), 5) == 0.0
