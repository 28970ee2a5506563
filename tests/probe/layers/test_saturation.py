"""What passes a gradient is told from what does not, wherever the activation stands."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from layer_training import Losses, said, train
from planted_layers import PLANTED, digits
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils.checkpoint import checkpoint

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.layer_figures import observation
from gradtracer.run import Run
from gradtracer.statistics.saturation import PassedGradient, Saturation, saturation, slope

Map = Callable[[torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """A layer, a function of what it puts out, and a layer that takes it."""

    body: nn.Linear
    head: nn.Linear
    function: Map

    def __init__(self, function: Any, layer: Any = None, into: int = 16) -> None:
        super().__init__()
        self.body = nn.Linear(4, 16) if layer is None else layer
        self.function, self.head = function, nn.Linear(into, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.function(self.body(x)).flatten(1))


def on_noise(
    model: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...] = (4,)
) -> Losses:
    """The squares of what a model makes of fresh inputs."""
    g = torch.Generator().manual_seed(0)

    def loss(_step: int) -> torch.Tensor:
        return model(torch.randn(32, *shape, generator=g)).square().mean()

    return loss


def slow(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-3)


def hooks_of(module: nn.Module) -> int:
    return len(module._forward_pre_hooks)  # pyright: ignore[reportPrivateUsage] no public word


def watched(
    run: Run, model: nn.Module, *, shape: tuple[int, ...] = (4,)
) -> tuple[FlowTracker, dict[str, Saturation | None]]:
    """Train a little; what is known of each layer."""
    tracker = FlowTracker(model, run=run)
    train(slow(model), on_noise(model, shape), 80)
    return tracker, {each.layer: each.saturation for each in tracker.figures()}


def pushed(model: Net, units: int = 4) -> Net:
    """Drive the first units of `body` far from zero."""
    with torch.no_grad():
        model.body.bias[:units] = 30.0
    return model


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.tanh, "Tanh"),
        (torch.sigmoid, "Sigmoid"),
        (nn.functional.hardtanh, "Hardtanh"),
        (nn.functional.hardsigmoid, "Hardsigmoid"),
        (nn.Tanh(), "Tanh"),
        (nn.Sequential(nn.Tanh(), nn.Dropout(0.5)), "Tanh"),
        (nn.Sequential(nn.BatchNorm1d(16, affine=False, eps=1e9), nn.Tanh()), "Tanh"),
    ],
)
def test_the_units_that_were_pushed_away_are_named(run: Run, function: Any, named: str):
    torch.manual_seed(0)
    _, found = watched(run, pushed(Net(function)))
    seen = found["body"]
    assert found["head"] is None and seen is not None
    assert (seen.activation, seen.units, seen.looks) == (named, 16, 20)
    normalised = isinstance(function, nn.Sequential) and isinstance(function[0], nn.BatchNorm1d)
    assert seen.saturated.tolist() == ([] if normalised else [0, 1, 2, 3])
    assert seen.share == pytest.approx(0.0 if normalised else 0.25)


def gated(h: torch.Tensor) -> torch.Tensor:
    return h * torch.sigmoid(h)


def cut_off(h: torch.Tensor) -> torch.Tensor:
    return torch.tanh(h).detach()


def halved(h: torch.Tensor) -> torch.Tensor:
    return torch.tanh(h[:, :8]).repeat(1, 2)


@pytest.mark.parametrize(
    "function",
    [
        torch.relu,
        nn.functional.relu6,
        nn.functional.gelu,
        nn.SiLU(),
        gated,
        cut_off,
        halved,
    ],
)
def test_other_functions_and_gates_are_left_alone_and_no_hook_stays(run: Run, function: Any):
    model = pushed(Net(function))
    _, found = watched(run, model)
    assert found == {"body": None, "head": None}
    assert hooks_of(model.head) == hooks_of(model.body) == 0


def test_what_comes_out_of_the_model_may_be_saturated(run: Run):
    last = nn.Linear(16, 16)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), last, nn.Sigmoid())
    with torch.no_grad():
        last.bias.fill_(30.0)
    _, found = watched(run, model)
    assert set(found.values()) == {None}


@pytest.mark.parametrize("pool", [nn.Identity(), nn.AvgPool2d(2)])
def test_units_of_a_convolution_are_its_channels(run: Run, pool: nn.Module):
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 8, 3)
    flat = 8 * (16 if isinstance(pool, nn.Identity) else 4)
    model = pushed(Net(nn.Sequential(nn.Tanh(), pool), layer, flat), 3)
    _, found = watched(run, model, shape=(1, 6, 6))
    seen = found["body"]
    assert seen is not None and seen.units == 8
    assert seen.saturated.tolist() == [0, 1, 2]


def test_the_mean_slope_is_that_of_the_activations_at_the_looks(run: Run):
    torch.manual_seed(0)
    model = Net(torch.tanh)
    tracker = FlowTracker(model, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    slopes: list[torch.Tensor] = []
    for step in range(64):
        x = torch.randn(32, 4)
        if step % 4 == 0:
            with torch.no_grad():
                slopes.append((1 - torch.tanh(model.body(x)).square()).mean(0))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    figures = tracker.figures()[0]
    assert figures.saturation is not None
    assert figures.saturation.looks == 16
    expected = float(torch.stack(slopes).mean())
    assert figures.saturation.passed == pytest.approx(expected, rel=1e-3)
    assert observation(figures).values["activation_slope"] == pytest.approx(expected, rel=1e-3)


def test_at_an_interval_only_followed_steps_are_looked_at(run: Run):
    model = Net(torch.tanh)
    tracker = FlowTracker(model, track_interval=10, run=run)
    train(slow(model), on_noise(model), 64 + 160)
    seen = tracker.figures()[0].saturation
    assert seen is not None and seen.looks == 16 + 4


def test_a_checkpointed_forward_is_looked_at_and_runs_no_more_often(run: Run):
    torch.manual_seed(0)
    model = pushed(Net(torch.tanh))
    calls = 0

    def counted(_module: nn.Module, _args: object) -> None:
        nonlocal calls
        calls += 1

    model.body.register_forward_pre_hook(counted)
    tracker = FlowTracker(model, run=run)
    optimizer = slow(model)
    for _ in range(80):
        optimizer.zero_grad()
        x = torch.randn(8, 4, requires_grad=True)
        checkpoint(model, x, use_reentrant=False).square().mean().backward()
        optimizer.step()
    assert calls == 2 * 80
    seen = tracker.figures()[0].saturation
    assert seen is not None and seen.saturated.tolist() == [0, 1, 2, 3]


def test_a_compiled_model_is_compiled_once_and_not_looked_at(run: Run):
    torch.manual_seed(0)
    torch.compiler.reset()
    model, graphs = pushed(Net(torch.tanh)), CompileCounter()
    tracker = FlowTracker(model, run=run)
    compiled = torch.compile(model, backend=graphs, fullgraph=True)
    train(slow(model), on_noise(compiled), 40)
    assert graphs.frame_count == 1
    assert tracker.figures()[0].saturation is None


def test_copies_and_files_of_the_model_are_not_looked_at(run: Run):
    model = pushed(Net(torch.tanh))
    tracker, _ = watched(run, model)
    before = tracker.figures()[0].saturation
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        train(slow(other), on_noise(other), 20)
    after = tracker.figures()[0].saturation
    assert before is not None and after is not None
    assert before.looks == after.looks


def test_a_resumed_tracker_goes_on_from_what_was_looked_at(run: Run):
    torch.manual_seed(0)
    model = pushed(Net(torch.tanh))
    tracker, _ = watched(run, model)
    later = Run(root=run.root, settings=run.settings)
    other = copy.deepcopy(model)
    again = FlowTracker(other, run=later)
    again.load_state_dict(tracker.state_dict())
    train(slow(other), on_noise(other), 4)
    seen = again.figures()[0].saturation
    assert seen is not None and seen.looks == 21
    assert again.figures()[0].saturation is not None
    later.finish()


def test_a_look_that_fails_ends_the_looking_and_not_the_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    faults: list[str] = []

    def fault(_layer: str, text: str) -> None:
        faults.append(text)

    monkeypatch.setattr(run, "fault", fault)
    model = Net(torch.tanh)
    monkeypatch.setattr("gradtracer.analyzers.saturation_observer.slope", None)
    tracker, found = watched(run, model)
    assert faults == ["stopped looking at activations"]
    assert found["body"] is None and tracker.steps == 80
    assert hooks_of(model.head) == 0


def test_a_layer_is_told_of_and_what_helps_is_offered(run: Run):
    case = next(case for case in PLANTED if case.name == "tanh, first weights of 1")
    training = case.build(0)
    tracker = FlowTracker(training.model, run=run)
    for _ in range(case.steps):
        next(training.steps)
    (found,) = tracker.diagnose(tracker.figures())["2"]
    with torch.no_grad():
        model: Any = training.model
        h = model[:4](digits()[0])
    far = ((1 - h.square()).mean(0) < 0.05).nonzero().flatten().tolist()
    assert found.rows is not None and found.rows.of == 64
    assert set(found.rows.sample) <= set(far) | set(range(64))
    assert len(set(found.rows.sample) & set(far)) >= 0.8 * len(found.rows.sample)
    assert [offer.fix for offer in found.fixes] == [
        "insert-normalisation",
        "replace-activation",
        "suppress",
    ]
    assert found.fixes[1].parameters == {"from": "Tanh", "to": "GELU"}
    evidence = found.evidence[0]
    assert evidence.interval is not None
    assert evidence.interval[0] > 0.25


def test_a_layer_that_was_brought_back_is_cleared(run: Run):
    torch.manual_seed(0)
    model = pushed(Net(torch.tanh), 16)
    tracker, _ = watched(run, model)
    tracker.publish(final=True)
    assert {d.type for d in tracker.diagnoses} == {"SATURATED_ACTIVATIONS"}
    with torch.no_grad():
        model.body.bias.zero_()
    for _ in range(12):
        train(slow(model), on_noise(model), 32)
        tracker.publish()
    assert not tracker.diagnoses
    assert said(tracker) == {}


def test_slopes_are_the_derivatives_over_their_largest():
    z = torch.linspace(-4, 4, 41, requires_grad=True)
    for name, function, most in (
        ("Tanh", torch.tanh, 1.0),
        ("Sigmoid", torch.sigmoid, 0.25),
        ("Hardtanh", nn.functional.hardtanh, 1.0),
        ("Hardsigmoid", nn.functional.hardsigmoid, 1 / 6),
    ):
        h = function(z)
        (exact,) = torch.autograd.grad(h.sum(), z)
        limits = (-1.0, 1.0) if name == "Hardtanh" else (0.0, 1.0)
        assert torch.allclose(slope(name, h, limits), exact / most, atol=1e-5)


def test_saturation_is_judged_by_looks_that_are_enough_and_finite():
    gains = np.full((16, 8), 0.5)
    assert saturation("Tanh", gains[:15], 0.05) is None
    assert saturation("Tanh", np.empty((16, 0)), 0.05) is None
    gains[:, :2] = 0.01
    gains[3] = np.nan
    found = saturation("Tanh", gains, 0.05)
    assert found is not None
    assert found.saturated.tolist() == [0, 1]
    assert found.share == pytest.approx(2 * 15 / 16 / 8)
    assert found.interval[0] < found.share < found.interval[1]
    assert 0.5 < found.probability_above(0.2) < found.probability_above(0.1)
    steady = Saturation("Tanh", 8, 16, 0.4, 0.25, 0.0, np.array([0, 1]))
    assert steady.probability_above(0.2) == 1.0 and steady.probability_above(0.25) == 0.0


def test_only_the_latest_looks_are_kept():
    passed = PassedGradient(2, torch.device("cpu"))
    for look in range(70):
        passed.add(torch.full((600, 2), look / 100))
    kept = np.sort(passed.read()[:, 0])
    assert kept.shape == (64,)
    assert kept == pytest.approx(np.arange(6, 70) / 100, abs=1e-3)
