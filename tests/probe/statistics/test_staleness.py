"""Staleness from the counts of reports, against the step of each row's last look-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.staleness import SAMPLE, Staleness, StalenessQuantiles


class SlowTwin:
    """Counts, and the last step, of every row."""

    def __init__(self, rows: int) -> None:
        self.counts = np.zeros(rows, dtype=np.int64)
        self.last = np.zeros(rows, dtype=np.int64)
        self.step = 0

    def look_up(self, ids: np.ndarray) -> None:
        self.step += 1
        np.add.at(self.counts, ids, 1)
        self.last[ids] = self.step

    def quantiles(self) -> tuple[float, float]:
        ages = self.step - self.last[self.counts > 0]
        return float(np.quantile(ages, 0.5)), float(np.quantile(ages, 0.95))


@given(st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=12))
def test_with_a_report_at_every_step_it_is_exact(batches: list[list[int]]) -> None:
    truth, staleness = SlowTwin(7), Staleness(7, 0)
    for batch in batches:
        truth.look_up(np.array(batch, dtype=np.int64))
        found = staleness.observe(truth.counts, truth.step)
        if truth.counts.any():
            assert found == truth.quantiles()
        else:
            assert found is None


@pytest.mark.parametrize("rows", [5_000, 3 * SAMPLE])
@pytest.mark.parametrize("interval", [7, 150, 3_000])
def test_between_rare_reports_the_quantiles_are_those_of_the_truth(
    rows: int, interval: int
) -> None:
    random = np.random.default_rng(1)
    popularity = np.cumsum(1.0 / np.arange(1, rows + 1) ** 0.7)
    truth, staleness = SlowTwin(rows), Staleness(rows, 0)
    found = None
    for _ in range(3_000):
        draw = random.random(rows // 200) * popularity[-1]
        truth.look_up(np.searchsorted(popularity, draw))
        if truth.step % interval == 0 or truth.step == 3_000:
            found = staleness.observe(truth.counts, truth.step)
    assert found is not None
    ages = np.sort(truth.step - truth.last[truth.counts > 0])
    # At which quantiles of the truth the estimates lie.
    median, p95 = np.searchsorted(ages, found) / ages.size
    assert median == pytest.approx(0.5, abs=0.03)
    assert p95 == pytest.approx(0.95, abs=0.01)


def test_a_row_left_alone_grows_stale_from_report_to_report() -> None:
    staleness = Staleness(2, 0)
    assert staleness.observe(np.array([1, 0]), 1) == StalenessQuantiles(0.0, 0.0)
    assert staleness.observe(np.array([1, 0]), 40) == StalenessQuantiles(39.0, 39.0)
    assert staleness.observe(np.array([1, 0]), 90) == StalenessQuantiles(89.0, 89.0)


def test_ranks_count_as_one_so_that_the_freshest_look_up_holds() -> None:
    here, there = np.array([1, 1]), np.array([0, 1])
    staleness = Staleness(2, 0)
    staleness.observe(here + there, 1)
    for step in range(2, 11):
        there[1] += 1
        found = staleness.observe(here + there, step)
    assert found == pytest.approx((4.5, 8.55))


def test_before_the_first_step_and_with_nothing_seen_it_is_unknown() -> None:
    assert Staleness(3, 0).observe(np.ones(3, dtype=np.int64), 0) is None
    assert Staleness(3, 0).observe(np.zeros(3, dtype=np.int64), 9) is None


def test_a_saved_state_goes_on_where_it_was() -> None:
    staleness = Staleness(2, 0)
    staleness.observe(np.array([1, 1]), 1)
    again = Staleness(2, 5)
    again.load_state_dict(staleness.state_dict())
    # Without the state the first row's look-up could lie anywhere in the 30 steps.
    assert again.observe(np.array([1, 2]), 30) == staleness.observe(np.array([1, 2]), 30)
    assert again.observe(np.array([1, 2]), 31) == staleness.observe(np.array([1, 2]), 31)


def test_a_copy_of_the_state_is_not_changed_by_what_comes_after() -> None:
    staleness = Staleness(2, 0)
    staleness.observe(np.array([1, 0]), 1)
    state = staleness.state_dict()
    staleness.observe(np.array([2, 3]), 9)
    assert (state["counts"].tolist(), state["last"].tolist(), state["step"]) == ([1, 0], [1, 0], 1)
