"""Every figure of a layer equals what the exact slow twin says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from layer_training import mlp, regression, train
from layer_twin import FlowTwin
from torch import nn

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.layer_figures import LayerFigures, observation
from gradtracer.run import Run
from gradtracer.statistics.step_history import Column

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.002),
}


def follow(run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> FlowTwin:
    twin = FlowTwin(model, seed=run.settings.seed)
    losses = regression(model)
    for step in range(steps):
        optimizer.zero_grad()
        losses(step).backward()
        twin.before_step()
        optimizer.step()
        twin.after_step()
    return twin


def agrees(figures: LayerFigures, twin: FlowTwin) -> None:
    said, values = twin.says(figures.layer), observation(figures).values
    assert values["grad_norm"] == pytest.approx(said.grad_norm, rel=1e-5)
    assert values["update_ratio"] == pytest.approx(said.update_ratio, rel=1e-4)
    assert values["weight_norm"] == pytest.approx(said.weight_norm, rel=1e-5)
    assert values["grad_zero"] == said.zero
    assert values["grad_nonfinite"] == said.nonfinite
    assert figures.snr is not None
    assert figures.dead is not None
    assert figures.snr.share == pytest.approx(said.share, abs=1e-5)
    assert figures.snr.error == pytest.approx(said.error, rel=1e-4)
    assert figures.snr.strongest == pytest.approx(said.strongest, rel=1e-3)
    assert set(figures.dead.silent.tolist()) == said.silent


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_figure_is_the_twins_under_every_optimizer(run: Run, name: str):
    torch.manual_seed(1)
    model = mlp()
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    tracker = FlowTracker(model, track_interval=1, run=run)
    twin = follow(run, model, OPTIMIZERS[name](model.parameters()), 64)
    figures = tracker.figures()
    assert [each.layer for each in figures] == ["0", "2", "4"]
    assert twin.says("0").silent >= {0, 1, 2, 3}
    for each in figures:
        assert each.steps == 64
        agrees(each, twin)


def test_a_layer_without_a_bias_tells_of_its_units_by_its_weight(run: Run):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(16, 32, bias=False), nn.ReLU(), nn.Linear(32, 1))
    with torch.no_grad():
        model[2].weight[:, 5] = 0.0
    tracker = FlowTracker(model, track_interval=1, run=run)
    model[2].weight.register_hook(lambda g: g * (torch.arange(32) != 5))
    twin = follow(run, model, torch.optim.SGD(model.parameters(), lr=0.01), 64)
    figures = tracker.figures()[0]
    assert 5 in twin.says("0").silent
    agrees(figures, twin)


def test_an_interval_follows_its_share_of_the_steps_in_bursts(run: Run):
    torch.manual_seed(1)
    model = mlp()
    tracker = FlowTracker(model, track_interval=10, run=run)
    train(torch.optim.SGD(model.parameters(), lr=0.01), regression(model), 64 + 3 * 160)
    figures = tracker.figures()[0]
    assert figures.steps == 64 + 3 * 16
    assert figures.first.tolist() == [0, 16, 32, 48, 208, 368, 528]


def test_gradients_of_a_scaled_loss_are_unscaled(run: Run):
    """A fused optimizer is given scaled gradients, with what they were multiplied by."""
    torch.manual_seed(1)
    model = mlp()
    tracker = FlowTracker(model, track_interval=1, run=run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses = regression(model)
    norms: list[float] = []
    for step in range(64):
        optimizer.zero_grad()
        scaler.scale(losses(step)).backward()
        norms.append(float(model[0].weight.grad.double().norm() / scaler.get_scale()))
        scaler.step(optimizer)
        scaler.update()
    values = observation(tracker.figures()[0]).values
    truth = math.exp(sum(map(math.log, norms)) / len(norms))
    assert values["grad_norm"] == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips_is_no_step_and_no_fault(run: Run, fused: bool):
    torch.manual_seed(1)
    model = mlp()
    tracker = FlowTracker(model, track_interval=1, run=run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    losses = regression(model)
    for step in range(80):
        optimizer.zero_grad()
        loss = losses(step)
        scaler.scale(loss * float("inf") if step % 10 == 9 else loss).backward()
        scaler.step(optimizer)
        scaler.update()
    for each in tracker.figures():
        assert each.total(Column.NONFINITE) == 0
        assert each.steps == 72
    assert not tracker.findings()
