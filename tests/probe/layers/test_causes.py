"""The cause is named, and what follows from it is not advised against."""

from __future__ import annotations

import torch
from layer_training import said
from planted_layers import classifier, digits, on_digits
from torch import nn

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.run import Run
from gradtracer.statistics.step_history import Column


def test_layers_around_one_that_is_off_are_not_told_to_learn_faster(run: Run):
    torch.manual_seed(0)
    model = classifier(width=128)
    tracker = FlowTracker(model, run=run)
    x, y = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(400):
        ids = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[ids] * 320), y[ids]).backward()
        optimizer.step()
    found = said(tracker)
    assert found["0"] == {"DEAD_NEURONS", "EXPLODING_UPDATES"}
    assert all("STAGNATION" not in types for types in found.values())
    # What switched the units off is the explosion, so that its remedy comes first.
    dead = next(d for d in tracker.findings()["0"] if d.type == "DEAD_NEURONS")
    fixes = [offer.fix for offer in dead.fixes]
    assert fixes[0] == "reduce-learning-rate"
    assert fixes[-2:] == ["replace-activation", "suppress"]
    assert "(now 0.05)" in dead.action


def test_a_vanished_gradient_is_one_finding_for_all_its_layers(run: Run):
    torch.manual_seed(0)
    model = classifier(nn.Sigmoid, depth=12)
    tracker = FlowTracker(model, run=run)
    steps = on_digits(model, torch.optim.SGD(model.parameters(), lr=0.1), seed=0)
    for _ in range(200):
        next(steps)
    assert said(tracker) == {"0": {"VANISHING_GRADIENTS"}}
    (found,) = tracker.findings()["0"]
    assert "of that in layer 22, and so in" in found.premise
    assert found.evidence[0].value < 1e-4


def test_an_optimizer_that_makes_up_for_it_leaves_nothing_to_say(run: Run):
    torch.manual_seed(0)
    model = classifier(nn.Sigmoid, depth=8)
    tracker = FlowTracker(model, run=run)
    steps = on_digits(model, torch.optim.Adam(model.parameters(), lr=1e-3), seed=0)
    for _ in range(200):
        next(steps)
    assert not said(tracker)


def test_a_loss_that_has_come_to_its_end_is_no_fault_of_the_layers(run: Run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    tracker = FlowTracker(model, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        # A margin, which is met once and for all.
        nn.functional.relu(1.0 - model(torch.rand(16, 4))).mean().backward()
        optimizer.step()
    assert tracker.figures()[0].total(Column.ZERO) > 64
    assert not said(tracker)
