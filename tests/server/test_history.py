"""A history keeps the shape of a series in little room, and its last point."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_factory import RunFactory

from gradtracer_server.history import FEWEST_POINTS, MOST_POINTS, History, points_for
from gradtracer_server.runs import Run


def filled(steps: int, most: int = 8) -> History:
    history = History()
    for step in range(steps):
        history.add(step, {"rank": float(step), "gini": 0.5}, most)
    return history


@given(st.integers(1, 500), st.integers(2, 40))
def test_any_length_is_kept_in_bounds_from_the_first_point_to_the_last(
    steps: int, most: int
) -> None:
    history = filled(steps, most)
    kept = history.series("rank")
    assert len(kept) == len(history) <= most
    assert kept[0] == (0, 0.0)
    assert kept[-1] == (steps - 1, steps - 1.0)
    assert all(step == value for step, value in kept)
    gaps = [b - a for (a, _), (b, _) in pairwise(kept[:-1])]
    assert len(set(gaps)) <= 1, "the points that stay are evenly spaced"
    assert steps <= most or len(kept) > most // 2


def test_a_statistic_that_appears_late_has_no_earlier_points() -> None:
    history = History()
    history.add(1, {"a": 1.0})
    history.add(2, {"a": 2.0, "b": 5.0})
    history.add(3, {"b": 6.0})
    assert history.series("a") == [(1, 1.0), (2, 2.0)]
    assert history.series("b") == [(2, 5.0), (3, 6.0)]
    assert history.series("c") == []
    assert history.names == ("a", "b")


def test_the_values_at_a_step_are_those_last_measured_by_then() -> None:
    history = History()
    assert history.at(5) == (0, {})
    history.add(10, {"a": 1.0})
    history.add(20, {"a": 2.0})
    assert history.at(19) == (10, {"a": 1.0})
    assert history.at(20) == history.at(1000) == (20, {"a": 2.0})
    assert history.at(5) == (10, {"a": 1.0})


def test_a_step_that_comes_again_replaces_the_point() -> None:
    history = History()
    history.add(10, {"a": 1.0})
    history.add(10, {"a": 3.0})
    history.add(4, {"a": 4.0})
    assert history.series("a") == [(10, 4.0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_that_single_precision_has_not_is_left_out(value: float) -> None:
    history = History()
    history.add(1, {"a": value})
    assert history.series("a") == []


def test_no_values_are_no_point() -> None:
    history = History()
    history.add(1, {})
    assert len(history) == 0


def test_many_layers_share_the_room() -> None:
    assert points_for(0) == points_for(3) == MOST_POINTS
    assert points_for(1000) == 32
    assert points_for(10**6) == FEWEST_POINTS


def test_a_run_keeps_the_history_of_its_layers_and_of_its_loss(project: RunFactory) -> None:
    writer = project.start()
    writer.watch_layers()
    for step in (100, 200):
        writer.observe("item_emb", step=step, effective_rank=step / 10)
        writer.progress(step=step)
    run = Run(writer.folder)
    run.catch_up()
    assert run.layers["item_emb"].history.series("effective_rank") == [(100, 10.0), (200, 20.0)]
    assert run.learning.series("loss") == [(100, pytest.approx(0.42)), (200, pytest.approx(0.42))]
