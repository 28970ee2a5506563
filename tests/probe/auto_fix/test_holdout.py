"""Rows keep their arm, all that were ever eligible are compared, and harm is seen."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from gradtracer.auto_fix.example_loss import ExampleLoss
from gradtracer.auto_fix.holdout import Holdout, Outcomes

ROWS = 2_000


def holdout(
    share: float = 0.2, seed: int = 0, layer: str = "item_emb", rows: int = ROWS
) -> Holdout:
    return Holdout(layer, rows, holdout=share, seed=seed)


def outcomes(rows: np.ndarray, look_ups: int, **values: np.ndarray) -> Outcomes:
    return Outcomes(dict(values), np.full(rows.size, look_ups))


def test_arms_are_the_seeds_and_the_layers_own():
    rows = np.arange(ROWS)
    first = holdout().held_out(rows)
    assert np.array_equal(first, holdout().held_out(rows))
    assert np.array_equal(first[::3], holdout().held_out(rows[::3]))
    assert first.mean() == pytest.approx(0.2, abs=3 * (0.16 / ROWS) ** 0.5)
    for other in (holdout(seed=1), holdout(seed=-1), holdout(layer="user_emb")):
        both = (first & other.held_out(rows)).mean()
        assert both == pytest.approx(0.04, abs=0.015)


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (1.0, ROWS)])
def test_none_or_all_are_held_out(share: float, held: int):
    one = holdout(share)
    rows = np.arange(ROWS)
    assert one.held_out(rows).sum() == held
    one.begin(one.enrol(rows), outcomes(rows, 0, noise_energy=rows * 1.0), 0)
    assert not one.look(outcomes(rows, 1_000, noise_energy=rows * 1.0), 10, interval=1)
    assert one.effects == []
    assert one.harm is None


def followed(effect: float, statistic: str = "noise_energy", seed: int = 0) -> Holdout:
    """One look at rows that differ much and keep what they are, but for the effect."""
    random, rows = np.random.default_rng(seed), np.arange(ROWS)
    one = holdout()
    before = 5 * random.normal(size=ROWS)
    one.begin(one.enrol(rows), outcomes(rows, 10, **{statistic: before}), 100)
    now = before + random.normal(size=ROWS) + np.where(one.held_out(rows), 0.0, effect)
    assert one.look(outcomes(rows, 100, **{statistic: now}), 400, interval=1)
    return one


def test_what_rows_were_before_is_taken_out():
    (effect,) = followed(0.0).effects
    low, high = effect.interval
    assert low < 0 < high
    # Five times the spread, unadjusted.
    assert high - low < 0.6
    assert effect.n_treated + effect.n_held_out == ROWS


@pytest.mark.parametrize(
    ("statistic", "effect", "harms"),
    [
        ("noise_energy", 1.0, True),
        ("noise_energy", -1.0, False),
        ("update_efficiency", -1.0, True),
        ("update_efficiency", 1.0, False),
        ("example_loss", 0.0, False),
    ],
)
def test_harm_is_an_interval_on_the_wrong_side(statistic: str, effect: float, harms: bool):
    one = followed(effect, statistic)
    assert (one.harm is not None) is harms
    if harms and one.harm is not None:
        assert one.harm.statistic == statistic
        assert one.harm.difference == pytest.approx(effect, abs=0.2)


def test_losses_are_those_since_the_row_was_enrolled():
    rows = np.arange(ROWS)
    one = holdout()
    before = np.full(ROWS, 100.0), np.full(ROWS, 10.0)
    one.begin(one.enrol(rows), Outcomes({}, np.zeros(ROWS, int), before), 0)
    treated = ~one.held_out(rows)
    noise = np.random.default_rng(0).normal(0, 1, ROWS)
    now = before[0] + 5 * (3.0 + noise + treated), before[1] + 5
    assert one.look(Outcomes({}, np.full(ROWS, 50), now), 10, interval=1)
    assert one.harm is not None
    assert one.harm.statistic == "example_loss"
    assert one.harm.difference == pytest.approx(1.0, abs=0.2)


def test_rows_count_once_they_were_followed_often_enough():
    rows = np.arange(ROWS)
    one = holdout()
    one.begin(one.enrol(rows), outcomes(rows, 10, noise_energy=rows * 1.0), 0)
    assert not one.look(outcomes(rows, 10 + 159, noise_energy=rows * 1.0), 10, interval=10)
    assert one.look(outcomes(rows, 10 + 160, noise_energy=rows * 1.0), 10, interval=10)


def test_looks_grow_farther_apart():
    rows = np.arange(ROWS)
    one = holdout()
    one.begin(one.enrol(rows), outcomes(rows, 0, noise_energy=rows * 1.0), 0)
    at = [
        step
        for step in range(1, 100_000, 256)
        if one.look(outcomes(rows, 100, noise_energy=rows * 1.0), step, interval=1)
    ]
    assert one.looks == len(at) < 40
    assert all(later >= 1.2 * earlier for earlier, later in pairwise(at[5:]))


def test_of_a_large_table_a_random_part_is_measured():
    one = holdout(rows=1_000_000)
    measured = one.enrol(np.arange(1_000_000))
    assert measured.size == pytest.approx(65_536, rel=0.02)
    assert one.held_out(measured).mean() == pytest.approx(0.2, abs=0.01)
    assert one.enrolled.all()


def test_a_saved_state_is_plain_and_goes_on():
    one, other = followed(0.3), holdout()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    rows, now = one.measured_rows, np.random.default_rng(5).normal(size=ROWS)
    assert np.array_equal(rows, other.measured_rows)
    for each in (one, other):
        assert each.look(outcomes(rows, 900, noise_energy=now), 4_000, interval=1)
    assert one.effects == other.effects
    assert one.looks == other.looks == 2
    assert np.array_equal(one.enrolled, other.enrolled)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_losses_go_to_the_rows_of_their_examples(shape: tuple[int, ...]):
    ids = torch.arange(12)[: torch.Size(shape).numel()].reshape(shape) % 5
    losses = torch.tensor([1.0, 2.0, float("nan"), 4.0])
    loss = ExampleLoss(5, torch.device("cpu"))
    assert loss.add(losses, [torch.zeros(7, dtype=torch.int64), ids])
    sums, counts = np.zeros(5), np.zeros(5)
    for example, of in enumerate(ids.reshape(4, -1).tolist()):
        for row in of:
            if example != 2:
                sums[row] += losses[example]
                counts[row] += 1
    found = loss.totals(np.arange(5))
    assert found[0].tolist() == sums.tolist()
    assert found[1].tolist() == counts.tolist()


def test_losses_of_other_examples_are_not_booked():
    loss = ExampleLoss(5, torch.device("cpu"))
    assert not loss.add(torch.ones(3), [torch.tensor([1, 2])])
    assert loss.totals(np.arange(5))[1].sum() == 0
