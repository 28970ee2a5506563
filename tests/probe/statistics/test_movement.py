"""Movement of rows against loops, and the drift share's interval against the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradtracer.statistics.movement import Movement, MovementTotals, drift_share

CPU = torch.device("cpu")


def totals(touched: np.ndarray, untouched: np.ndarray) -> MovementTotals:
    return MovementTotals(
        0.0,
        0.0,
        float(touched.sum()),
        float(untouched.sum()),
        float((touched**2).sum()),
        float((untouched**2).sum()),
        float((touched * untouched).sum()),
        float(touched.size),
    )


def steps(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = rng.gamma(2.0, 1.0, n)
    return size * rng.gamma(4.0, 0.1, n), size * rng.gamma(3.0, 0.1, n)


def test_sums_equal_a_loop_over_steps_and_rows() -> None:
    g = torch.Generator().manual_seed(0)
    rows, dim = 60, 3
    movement = Movement(rows, CPU, 0, excluded=5)
    witnesses = movement._witnesses.tolist()
    assert sorted([*witnesses, 5]) == list(range(rows))
    path = count = 0.0
    touched, untouched = [], []
    for _ in range(40):
        weight = torch.randn(rows, dim, generator=g)
        ids = torch.randint(rows, (20,), generator=g)
        movement.before(weight, ids, weight)
        after = weight + torch.randn(rows, dim, generator=g)
        movement.after(after)
        change = (after - weight).double()
        for row in set(ids.tolist()):
            path += float(change[row].norm())
            count += 1
        squares = {row: float(change[row].square().sum()) for row in witnesses}
        touched.append(sum(s for row, s in squares.items() if row in ids))
        untouched.append(sum(s for row, s in squares.items() if row not in ids))
    found = movement.totals()
    assert found.path == pytest.approx(path, rel=1e-5)
    assert found.rows == count
    expected = totals(np.array(touched), np.array(untouched))
    np.testing.assert_allclose(found[2:], expected[2:], rtol=1e-5)


def test_a_row_that_another_ranks_example_moves_does_not_drift() -> None:
    touched = []
    for shared in (False, True):
        movement, grad = Movement(4, CPU, 0, excluded=None), torch.zeros(4, 2)
        grad[3] = 1.0
        movement.before(torch.zeros(4, 2), torch.tensor([0, 1]), grad, shared=shared)
        movement.after(torch.eye(4, 2)[[2, 2, 2, 0]])
        found = movement.totals()
        touched.append((found.touched, found.untouched))
    assert touched == [(0.0, 1.0), (1.0, 0.0)]


def test_a_sample_of_a_large_batch_gives_its_mean_velocity() -> None:
    g = torch.Generator().manual_seed(0)
    rows = 5_000
    movement = Movement(rows, CPU, 0, excluded=None)
    ids = torch.randint(rows, (4_000,), generator=g)
    weight = torch.zeros(rows, 4)
    movement.before(weight, ids, None)
    moved = torch.rand(rows, 4, generator=g)
    movement.after(moved)
    found = movement.totals()
    assert 150 < found.rows <= 256
    truth = moved[ids.unique()].norm(dim=1).mean()
    assert found.path / found.rows == pytest.approx(float(truth), rel=0.1)


def test_rows_that_become_nan_or_infinite_leave_the_sums_finite() -> None:
    movement = Movement(4, CPU, 0, excluded=None)
    ids = torch.tensor([0, 1, 2])
    movement.before(torch.zeros(4, 2), ids, torch.zeros(4, 2))
    after = torch.ones(4, 2)
    after[0], after[1], after[3] = float("nan"), float("inf"), float("inf")
    movement.after(after)
    found = movement.totals()
    assert found.rows == 1
    assert found.path == pytest.approx(2**0.5)
    assert all(np.isfinite(found))


def test_a_table_of_one_row_that_is_padding_has_no_witness() -> None:
    movement = Movement(1, CPU, 0, excluded=0)
    ids = torch.tensor([0])
    movement.before(torch.zeros(1, 2), ids, torch.zeros(1, 2))
    movement.after(torch.zeros(1, 2))
    assert drift_share(movement.totals()) is None


def test_witnesses_keep_nothing_else_alive() -> None:
    movement = Movement(100_000, CPU, 0, excluded=None)
    assert movement._witnesses.untyped_storage().nbytes() == 256 * 8


def test_the_interval_is_that_of_the_bootstrap() -> None:
    touched, untouched = steps(400, 0)
    found = drift_share(totals(touched, untouched))
    assert found is not None
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(2_000):
        pick = rng.integers(0, 400, 400)
        t, u = touched[pick].sum(), untouched[pick].sum()
        shares.append(u / (t + u))
    low, high = np.quantile(shares, [0.025, 0.975])
    width = high - low
    assert found.interval[0] == pytest.approx(low, abs=0.15 * width)
    assert found.interval[1] == pytest.approx(high, abs=0.15 * width)


def test_the_interval_holds_the_true_share() -> None:
    held = 0
    for seed in range(200):
        found = drift_share(totals(*steps(60, seed)))
        assert found is not None
        held += found.interval[0] <= 3 / 7 <= found.interval[1]
    assert held >= 180


def test_a_share_needs_thirty_steps_and_some_movement() -> None:
    assert drift_share(totals(*steps(29, 0))) is None
    assert drift_share(totals(np.zeros(50), np.zeros(50))) is None
    assert drift_share(totals(*steps(30, 0))) is not None
