"""Each type is raised by the fault it is for, on its layer, and by no healthy training."""

from __future__ import annotations

import pytest
import torch
from layer_training import mlp, regression, said, train
from planted_layers import HEALTHY, PLANTED, Case, classifier, digits, on_digits
from torch import nn

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.run import Run
from gradtracer_schemas import Diagnosis


def watch(case: Case, run: Run, *, seed: int = 0, interval: int = 1) -> FlowTracker:
    training = case.build(seed)
    tracker = FlowTracker(training.model, track_interval=interval, run=run)
    for _ in range(case.steps):
        next(training.steps)
    return tracker


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: case.name)
def test_a_planted_fault_is_named_on_its_layer(run: Run, case: Case):
    tracker = watch(case, run)
    found = tracker.diagnose(tracker.figures())
    named = {layer for layer, each in found.items() if case.expected in {d.type for d in each}}
    assert named
    assert named <= case.layers | (set(found) if case.expected in case.also else set())
    others = {d.type for each in found.values() for d in each} - case.also - {case.expected}
    assert not others
    for diagnosis in (d for each in found.values() for d in each):
        assert 0.9 < diagnosis.confidence <= 1.0
        assert diagnosis.evidence[0].n >= 3
        assert diagnosis.fixes[-1].fix == "suppress"


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_healthy_training_hears_nothing(run: Run, case: Case):
    tracker = watch(case, run, seed=1)
    for _ in range(3):
        tracker.publish(final=True)
    assert tracker.diagnoses == []


def planted(run: Run, name: str, layer: str, **how: int) -> Diagnosis:
    case = next(case for case in PLANTED if case.name == name)
    tracker = watch(case, run, **how)
    (found,) = [d for d in tracker.diagnose(tracker.figures())[layer] if d.type == case.expected]
    return found


def test_dead_units_are_counted_exactly_and_offer_another_activation(run: Run):
    case = next(case for case in PLANTED if case.name == "dead rectifiers")
    training = case.build(0)
    tracker = FlowTracker(training.model, run=run)
    for _ in range(case.steps):
        next(training.steps)
    (found,) = tracker.diagnose(tracker.figures())["2"]
    with torch.no_grad():
        off = (training.model[:4](digits()[0]) == 0).all(0).nonzero().flatten().tolist()
    assert found.rows is not None
    assert (found.rows.count, found.rows.of) == (len(off), 64)
    assert found.rows.sample == off[:20]
    assert found.fixes[0].fix == "replace-activation"
    assert found.fixes[0].parameters == {"to": "LeakyReLU"}


def test_an_explosion_offers_the_rate_that_its_measured_updates_ask_for(run: Run):
    found = planted(run, "learning rate x 300", "2")
    offers = {offer.fix: offer.parameters for offer in found.fixes}
    assert offers["reduce-learning-rate"]["parameters"] == "2"
    assert 1e-4 <= offers["reduce-learning-rate"]["lr"] <= 0.03
    assert 0 < offers["clip-gradients"]["max_norm"] < 10


@pytest.mark.parametrize("interval", [1, 10, 100])
def test_the_layer_where_gradients_broke_is_named_whatever_the_interval(run: Run, interval: int):
    """Between bursts too, and although the very next step breaks every layer."""
    found = planted(run, "root of zero", "2", interval=interval, seed=1)
    assert found.severity == "error"
    assert found.premise.startswith(
        "At step 127 the gradient held values that are not finite, here and in 1 layer before it, "
        "while that of layer 4 was still finite"
    )


def test_a_loss_that_is_no_number_is_told_from_a_layer_that_broke(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)

    def broken(step: int) -> torch.Tensor:
        return losses(step) * (float("nan") if step == 70 else 1.0)

    train(torch.optim.SGD(model.parameters(), lr=0.01), broken, 80)
    assert said(tracker) == {"4": {"NON_FINITE"}}
    (found,) = tracker.findings()["4"]
    assert "in all 3 layers at once: they came from the loss" in found.premise
    assert "The weights themselves are not finite any more" in found.premise


def test_figures_stay_finite_whatever_the_gradients_are(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)

    def wild(step: int) -> torch.Tensor:
        return losses(step) * (float("inf") if step % 7 == 0 else 1.0)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    train(optimizer, wild, 80)
    for observed in tracker.history.values():
        for curve in observed.values():
            assert all(torch.isfinite(torch.tensor(curve)))
    tracker.publish(final=True)
    assert {d.type for d in tracker.diagnoses} == {"NON_FINITE"}


def test_layers_whose_updates_are_lost_in_rounding_are_among_those_that_vanish(run: Run):
    case = next(case for case in PLANTED if case.expected == "VANISHING_GRADIENTS")
    assert said(watch(case, run, seed=1, interval=2)) == {"0": {"VANISHING_GRADIENTS"}}


def test_a_layer_that_learns_again_is_cleared(run: Run):
    torch.manual_seed(0)
    model = classifier()
    groups = [
        {"params": model[0].parameters(), "lr": 1e-9},
        {"params": [*model[2].parameters(), *model[4].parameters()]},
    ]
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    tracker = FlowTracker(model, run=run)
    steps = on_digits(model, optimizer, seed=0)

    def on(count: int) -> set[str]:
        for step in range(count):
            next(steps)
            if step % 32 == 31:
                tracker.publish()
        return {d.type for d in tracker.diagnoses}

    assert on(32) == set()
    assert on(96) == {"STAGNATION"}
    optimizer.param_groups[0]["lr"] = 1e-3
    assert on(800) == set()


def test_dropout_and_masks_that_switch_units_off_for_a_time_kill_none(run: Run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 10))
    tracker = FlowTracker(model, run=run)
    steps = on_digits(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=0, batch=4)
    for _ in range(320):
        next(steps)
    assert not said(tracker)
