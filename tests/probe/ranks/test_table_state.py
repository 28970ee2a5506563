"""States of ranks: sent, received and merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_state import (
    TableState,
    merge_states,
    pack_state,
    read_state,
    unpack_state,
)


def observed(seed: int, rows: int = 30, steps: int = 60) -> TableState:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, 8, generator=g)
    observer = TableObserver(weight, track_interval=1, seed=0, padding_idx=None)
    for _ in range(steps):
        ids = torch.randint(rows, (6,), generator=g)
        observer.look_up(ids, trains=True)
        observer.before_step(weight, torch.randn(rows, 8, generator=g))
        observer.after_step(weight)
    observer.count_pending()
    return read_state(observer)


def test_what_is_sent_arrives_whole_the_averages_to_three_digits() -> None:
    state = observed(0)
    found = unpack_state(pack_state(state))
    for name in ("counts", "exposures"):
        np.testing.assert_array_equal(getattr(found, name), getattr(state, name))
    for name in ("energy", "noise", "agreement"):
        np.testing.assert_allclose(getattr(found, name), getattr(state, name), rtol=0.01)
    assert found[5:] == state[5:]


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x90", pack_state(observed(0))[:-9]])
def test_what_is_no_state_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match="expected the packed state of a table"):
        unpack_state(junk)


def test_look_ups_add_up_and_averages_are_weighed_by_their_pairs() -> None:
    one, other = observed(0), observed(1, steps=20)
    found = merge_states(one, [other])
    np.testing.assert_array_equal(found.counts, one.counts + other.counts)
    n, m = np.maximum(one.exposures - 1, 0), np.maximum(other.exposures - 1, 0)
    np.testing.assert_allclose(
        found.noise, (n * one.noise + m * other.noise) / np.maximum(n + m, 1), rtol=1e-5
    )
    assert (found.exposures == np.minimum(one.exposures + other.exposures, 40)).all()
    assert found.tracked_steps == one.tracked_steps
    assert found.movement.rows == one.movement.rows + other.movement.rows
    assert found.movement.untouched == one.movement.untouched


def test_rows_that_one_rank_never_saw_are_as_the_other_saw_them() -> None:
    one, nothing = observed(0), observed(1, steps=0)
    for found in (merge_states(one, [nothing]), merge_states(nothing, [one])):
        np.testing.assert_allclose(found.noise, one.noise, rtol=1e-6)
        np.testing.assert_array_equal(found.counts, one.counts)


def test_a_table_of_another_size_is_left_out() -> None:
    one = observed(0)
    assert merge_states(one, [observed(1, rows=31)]) is one
