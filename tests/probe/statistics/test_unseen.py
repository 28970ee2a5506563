"""Rows to come against continuations that are really drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from gradtracer.statistics.exposure import Halfway
from gradtracer.statistics.unseen import unseen_rows

Stream = Callable[[np.random.Generator], npt.NDArray[np.int64]]
ROWS = 3_000
_RANKS = 1.0 / np.arange(1, ROWS + 1)
LAWS = {
    "zipf": _RANKS / _RANKS.sum(),
    "uniform": np.full(ROWS, 1.0 / ROWS),
    "half never": np.where(np.arange(ROWS) < ROWS // 2, 2.0 / ROWS, 0.0),
}


def independent(law: str, look_ups: int) -> Stream:
    """Twice `look_ups` independent draws."""
    return lambda rng: rng.choice(ROWS, size=2 * look_ups, p=LAWS[law])


def epochs(law: str, examples: int, look_ups: int) -> Stream:
    """The same examples over and over, shuffled anew each time."""

    def draw(rng: np.random.Generator) -> npt.NDArray[np.int64]:
        once = rng.choice(ROWS, size=examples, p=LAWS[law])
        times = math.ceil(2 * look_ups / examples)
        return np.concatenate([rng.permutation(once) for _ in range(times)])[: 2 * look_ups]

    return draw


def held(stream: Stream, *, with_halfway: bool, runs: int = 60) -> float:
    """Share of runs in which the 95 % interval held the rows that did stay unseen."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(runs):
        ids = stream(rng)
        half = ids.size // 2
        now, later = np.unique(ids[:half]), np.unique(ids)
        note = int(half * rng.uniform(0.36, 0.5))
        since = now.size - np.unique(ids[:note]).size
        found = unseen_rows(
            np.bincount(ids[:half], minlength=ROWS),
            Halfway(note / half, since) if with_halfway else None,
        )
        low, high = found.interval
        hits += low <= ROWS - later.size <= high
    return hits / runs


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("look_ups", [300, 3_000, 12_000])
def test_the_interval_holds_what_independent_draws_bring(law: str, look_ups: int) -> None:
    assert held(independent(law, look_ups), with_halfway=True) >= 0.88


@pytest.mark.parametrize("law", ["zipf", "uniform"])
@pytest.mark.parametrize("passes", [0.3, 1.5, 3.0, 4.0])
def test_the_interval_holds_what_shuffled_epochs_bring(law: str, passes: float) -> None:
    stream = epochs(law, 6_000, int(passes * 6_000))
    assert held(stream, with_halfway=True) >= 0.88


def test_without_the_bound_whole_epochs_hide_dead_rows() -> None:
    assert held(epochs("zipf", 6_000, 18_000), with_halfway=False) < 0.1


def test_rows_not_yet_seen_are_not_called_dead() -> None:
    """A young run over a uniform vocabulary: most rows are unseen, few of them for good."""
    rng = np.random.default_rng(0)
    counts = np.bincount(independent("uniform", 9_000)(rng)[:9_000], minlength=ROWS)
    found = unseen_rows(counts)
    assert found.unseen > 0.03 * ROWS
    assert found.confidence_above(0.05 * ROWS) < 0.05


def test_nothing_seen_means_everything_is_to_come() -> None:
    found = unseen_rows(np.zeros(10, dtype=np.int64))
    assert (found.unseen, found.dead, found.look_ups) == (10, 0.0, 0)
    assert found.confidence_above(1.0) < 0.5


@pytest.mark.parametrize("counts", [[5], [0], [1], [3, 0, 3], [1] * 40, [2] * 40 + [0] * 3])
def test_estimates_stay_within_the_table(counts: list[int]) -> None:
    found = unseen_rows(np.array(counts))
    low, high = found.interval
    assert 0 <= found.to_come <= found.unseen == counts.count(0)
    assert 0 <= low <= found.dead <= high <= found.unseen
    assert found.error >= 1.0


def test_confidence_grows_with_what_is_seen_and_is_no_constant() -> None:
    levels = []
    for look_ups in (1_500, 6_000, 30_000):
        ids = independent("half never", look_ups)(np.random.default_rng(0))[:look_ups]
        found = unseen_rows(np.bincount(ids, minlength=ROWS))
        levels.append(found.confidence_above(0.49 * ROWS))
    assert levels[0] != levels[1] < levels[2]
    assert levels[2] > 0.99
