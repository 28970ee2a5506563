"""Exposures of repeated rows against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gradtracer.statistics.repeated_rows import RepeatedRows, repeated_rows

STEPS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=5)


def ordered(steps: list[list[int]], pick: int) -> tuple[list[int], RepeatedRows]:
    """Look-ups side by side, and their order; who stands for a row is arbitrary."""
    ids = [row for step in steps for row in step]
    places = {row: [k for k, other in enumerate(ids) if other == row] for row in ids}
    winner = np.array([places[row][pick % len(places[row])] for row in ids])
    loses = np.flatnonzero(winner != np.arange(len(ids)))
    assume(loses.size > 0)
    bounds = np.cumsum([0] + [len(step) for step in steps]).tolist()
    return ids, repeated_rows(winner, loses, bounds)


@given(steps=STEPS, pick=st.integers(0, 5))
def test_exposures_follow_each_other_by_row_and_step(steps: list[list[int]], pick: int) -> None:
    ids, found = ordered(steps, pick)
    truth = {
        row: [step.count(row) for step in steps if row in step]
        for row in set(ids)
        if ids.count(row) > 1
    }
    rows = [ids[place] for place in found.winner]
    assert sorted(rows) == sorted(truth)
    for row, head, length in zip(rows, found.head, found.length, strict=True):
        exposures = slice(head, head + length)
        assert found.examples[exposures].tolist() == truth[row]
        assert [ids[place] for place in found.place[exposures]] == [row] * length
        assert (np.diff(found.place[exposures]) > 0).all()


@pytest.mark.parametrize("whole", [True, False])
@given(steps=STEPS, pick=st.integers(0, 5))
def test_means_are_those_of_the_examples_of_a_step(
    whole: bool, steps: list[list[int]], pick: int
) -> None:
    ids, found = ordered(steps, pick)
    parts = torch.randn(len(ids), 3, generator=torch.Generator().manual_seed(0))
    values, at = parts.clone(), 0
    truth: dict[tuple[int, int], torch.Tensor] = {}
    for number, step in enumerate(steps):
        for row in step:
            mine = [at + k for k, other in enumerate(step) if other == row]
            truth[number, row] = parts[mine].mean(dim=0)
            if whole:
                values[mine] = parts[mine].sum(dim=0)
        at += len(step)
    found.average(values, whole=whole)
    for place in found.place.tolist():
        number = int(np.searchsorted(np.cumsum([len(s) for s in steps]), place, side="right"))
        torch.testing.assert_close(values[place], truth[number, ids[place]])
