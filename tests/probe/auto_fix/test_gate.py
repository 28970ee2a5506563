"""The gate is closed while the loss improves, and says what it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from gradtracer.auto_fix.gate import LossGate, posterior_of_fall


def fed(losses: list[float], *, without_loss: bool = True) -> LossGate:
    gate = LossGate(without_loss=without_loss)
    for step, loss in enumerate(losses):
        gate.add(loss, step)
    return gate


def noisy(trend: float, steps: int = 2_000, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(size=steps)
    return (2.0 + trend * np.arange(steps) / steps + 0.3 * noise).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_posterior_is_that_of_a_regression(seed: int):
    values = np.random.default_rng(seed).normal(size=20).tolist()
    fit = stats.linregress(range(20), values)
    expected = stats.t.cdf(-fit.slope / fit.stderr, 18)
    assert posterior_of_fall(values) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "found"), [([1.0] * 5, 0.5), ([3.0, 2, 1], 1), ([1.0, 2, 3], 0)]
)
def test_without_noise_the_sign_decides(values: list[float], found: float):
    assert posterior_of_fall(values) == found


@pytest.mark.parametrize(
    ("trend", "open_"), [(-1.0, False), (1.0, True)], ids=["improving", "rising"]
)
def test_it_closes_by_the_trend(trend: float, open_: bool):
    verdict = fed(noisy(trend)).verdict()
    assert verdict.open is open_
    assert verdict.improving is not None
    assert verdict.improving == pytest.approx(float(not open_), abs=0.05)


def test_a_plateau_after_a_fall_is_no_improvement():
    losses = np.concatenate([np.linspace(5, 1, 500), np.ones(2_500)])
    losses += 0.1 * np.random.default_rng(0).normal(size=losses.size)
    opened = [fed(losses[:n].tolist()).verdict().improving for n in (400, 3_000)]
    assert opened[0] == pytest.approx(1.0)
    assert opened[1] < 0.95


def test_between_both_limits_it_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    from gradtracer.auto_fix import gate as module

    gate, found = fed(noisy(0)), iter([0.7, 0.4, 0.7, 0.96, 0.7])
    monkeypatch.setattr(module, "posterior_of_fall", lambda _: next(found))
    assert [gate.verdict().open for _ in range(5)] == [False, True, True, False, False]


@pytest.mark.parametrize("without_loss", [False, True])
def test_without_a_loss_it_says_so(without_loss: bool):
    verdict = LossGate(without_loss=without_loss).verdict()
    assert verdict.open is without_loss
    assert verdict.improving is None
    assert "pass it by tracker.step(loss)" in verdict.reason


def test_few_losses_tell_nothing():
    # Seven blocks of eight in the later half.
    rising = [float(step) for step in range(120)]
    verdict = fed(rising[:119]).verdict()
    assert not verdict.open
    assert verdict.reason.startswith("too few losses")
    assert fed(rising).verdict().open


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [5, 1_999])
def test_a_loss_that_is_not_finite_closes_it(bad: float, at: int):
    losses = noisy(1.0)
    losses[-2_000 + at if at > 1_000 else -1_000 + at] = bad
    verdict = fed(losses).verdict()
    assert not verdict.open
    assert verdict.reason == "the loss is not finite"


def test_tensors_count_by_their_mean_and_a_step_once():
    gate, plain = LossGate(without_loss=True), LossGate(without_loss=True)
    for step, loss in enumerate(noisy(0.5)):
        gate.add(torch.tensor([loss - 1, loss + 1], requires_grad=True), step)
        gate.add(99.0, step)
        plain.add(loss, step)
    assert gate.verdict().improving == pytest.approx(plain.verdict().improving, abs=1e-4)


def test_a_long_training_is_kept_in_few_blocks():
    gate = fed(noisy(0, steps=20_000))
    assert len(gate.state_dict()["blocks"]) < 64


def test_a_resumed_gate_goes_on_where_it_was():
    losses = noisy(0.2)
    whole, first = fed(losses), fed(losses[:777])
    resumed = LossGate(without_loss=True)
    resumed.load_state_dict(first.state_dict())
    for step, loss in enumerate(losses[777:], 777):
        resumed.add(loss, step)
    assert resumed.verdict() == whole.verdict()
