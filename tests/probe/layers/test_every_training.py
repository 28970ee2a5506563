"""Layers are observed rightly in every way that people train."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from pathlib import Path

import pytest
import torch
from layer_training import mlp, regression, said, train
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.exceptions import NothingToWatch
from gradtracer.run import Run
from gradtracer.statistics.step_history import Column


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def by_layer(tracker: FlowTracker) -> dict[str, LayerFigures]:
    return {figures.layer: figures for figures in tracker.figures()}


def norms_of_plain_training(steps: int) -> list[float]:
    torch.manual_seed(0)
    model = mlp()
    losses, optimizer = regression(model), sgd(model)
    train(optimizer, losses, steps)
    return [float(p.detach().norm()) for n, p in model.named_parameters() if n.endswith("weight")]


def test_watching_changes_no_bit(run: Run):
    plain = norms_of_plain_training(100)
    torch.manual_seed(0)
    model = mlp()
    FlowTracker(model, track_interval=2, run=run)
    train(sgd(model), regression(model), 100)
    watched = [float(p.detach().norm()) for n, p in model.named_parameters() if "weight" in n]
    assert watched == plain


def test_accumulated_gradients_are_those_of_the_step(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses, optimizer = regression(model), sgd(model)
    norms = []
    for step in range(16):
        optimizer.zero_grad()
        for _ in range(4):
            (losses(step) / 4).backward()
        norms.append(float(model[0].weight.grad.norm()))
        optimizer.step()
    figures = tracker.figures()[0]
    assert figures.steps == 16
    assert figures.total(Column.LOG_NORM) == pytest.approx(
        float(torch.tensor(norms).double().log().sum()), rel=1e-5
    )


def test_a_compiled_model_is_observed_by_its_own_names(run: Run):
    torch.manual_seed(0)
    model = mlp()
    compiled = torch.compile(model, backend="aot_eager")
    tracker = FlowTracker(compiled, run=run)
    train(sgd(model), regression(compiled), 20)
    assert {layer: figures.steps for layer, figures in by_layer(tracker).items()} == {
        "0": 20,
        "2": 20,
        "4": 20,
    }


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_forward_is_observed_once(run: Run, reentrant: bool):
    model = mlp()
    tracker = FlowTracker(model, run=run)
    optimizer = sgd(model)
    for _ in range(16):
        optimizer.zero_grad()
        x = torch.randn(8, 16, requires_grad=True)
        checkpoint(model, x, use_reentrant=reentrant).square().mean().backward()
        optimizer.step()
    assert tracker.figures()[0].steps == 16


def test_a_tied_output_belongs_to_its_table_and_a_shared_weight_to_its_first_layer(run: Run):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(30, 8)
            self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
            self.two.weight = self.one.weight
            self.head = nn.Linear(8, 30)
            self.head.weight = self.words.weight

    assert list(FlowTracker(Tied(), run=run).sites) == ["one"]


def test_two_optimizers_each_move_their_own_layers(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)
    first = torch.optim.Adam(model[0].parameters(), lr=0.01)
    others = torch.optim.SGD([*model[2].parameters(), *model[4].parameters()], lr=0.05)
    for step in range(32):
        model.zero_grad()
        losses(step).backward()
        first.step()
        if step % 2:
            others.step()
    figures = by_layer(tracker)
    assert (figures["0"].steps, figures["2"].steps, figures["4"].steps) == (32, 16, 16)
    assert figures["0"].optimizer is not None
    assert figures["4"].optimizer is not None
    assert (figures["0"].optimizer.name, figures["4"].optimizer.name) == ("Adam", "SGD")


def test_a_frozen_layer_is_not_observed_and_one_frozen_later_is_not_blamed(run: Run):
    torch.manual_seed(0)
    model = mlp()
    model[0].requires_grad_(False)
    tracker = FlowTracker(model, run=run)
    assert list(tracker.sites) == ["2", "4"]
    losses, optimizer = regression(model), sgd(model)
    train(optimizer, losses, 64)
    model[2].requires_grad_(False)
    train(optimizer, losses, 200)
    assert not by_layer(tracker)["2"].trainable
    assert not said(tracker)


def test_a_parameter_that_is_replaced_is_noticed_and_followed(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)
    train(sgd(model), losses, 40)
    model[0].weight = nn.Parameter(torch.randn(32, 16) * 0.1)
    train(sgd(model), losses, 64)
    figures = by_layer(tracker)["0"]
    assert figures.steps >= 48
    assert figures.ends[-1, 1] == pytest.approx(float(model[0].weight.detach().norm()), rel=1e-6)


def test_a_new_optimizer_over_the_same_weights_goes_on(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)
    train(sgd(model), losses, 32)
    train(torch.optim.Adam(model.parameters()), losses, 32)
    assert {figures.steps for figures in tracker.figures()} == {64}


def test_copies_and_files_of_a_watched_model_are_not_observed(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    train(sgd(model), regression(model), 10)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        train(sgd(other), regression(other), 10)
    assert tracker.steps == 10
    assert copy.deepcopy(tracker) is tracker


def test_a_watched_model_can_be_thrown_away(run: Run):
    model = mlp()
    tracker = FlowTracker(model, run=run)
    train(sgd(model), regression(model), 20 * 16)
    gone = weakref.ref(model[0].weight)
    del model
    gc.collect()
    assert gone() is None
    assert len(tracker.figures()) == 3


@pytest.mark.parametrize("steps", [64, 75])
def test_a_resumed_training_goes_on_from_what_was_known(run: Run, tmp_path: Path, steps: int):
    torch.manual_seed(0)
    model = mlp()
    whole = FlowTracker(model, run=run)
    losses, optimizer = regression(model), sgd(model)
    train(optimizer, losses, steps, lambda _step: whole.step(loss=1.0))
    torch.save(whole.state_dict(), tmp_path / "tracker.pt")
    weights = copy.deepcopy(model.state_dict())
    train(optimizer, losses, 64)

    later = Run(root=tmp_path, settings=run.settings)
    again = mlp()
    again.load_state_dict(weights)
    tracker = FlowTracker(again, run=later)
    tracker.load_state_dict(torch.load(tmp_path / "tracker.pt", weights_only=True))
    losses = regression(again)
    for step in range(steps):
        losses(step)
    train(sgd(again), losses, 64)
    assert tracker.steps == whole.steps == steps + 64
    assert tracker.summary["loss_first"] == 1.0
    for one, other in zip(tracker.figures(), whole.figures(), strict=True):
        assert one.steps == other.steps == steps + 64
        assert one.snr is not None
        assert other.snr is not None
        assert one.snr.share == pytest.approx(other.snr.share, rel=1e-6)
        assert one.dead is not None
        assert other.dead is not None
        assert one.dead.steps == other.dead.steps
        assert one.dead.silent.tolist() == other.dead.silent.tolist()
        for column in Column:
            assert one.total(column) == pytest.approx(other.total(column), rel=1e-6), column
        assert one.first.tolist() == (other.first - steps).tolist()
    later.finish()


def test_a_state_of_other_layers_or_of_nothing_is_refused(run: Run):
    model, other = mlp(), mlp(depth=4)
    tracker, deeper = FlowTracker(model, run=run), FlowTracker(other, run=run)
    train(sgd(other), regression(other), 20)
    with pytest.raises(ValueError, match=r"among 0, 2, 4; got one of 0_2, 2_2, 4_2, 6"):
        tracker.load_state_dict(deeper.state_dict())
    with pytest.raises(ValueError, match="got a state without 'observers'"):
        tracker.load_state_dict({})


def test_layers_beside_a_sparse_table_with_a_norm_limit_are_the_heads_alone(run: Run):
    torch.manual_seed(0)
    table, head = nn.Embedding(40, 8, sparse=True, max_norm=0.5), mlp(inputs=8)
    model = nn.ModuleList([table, head])
    tracker = FlowTracker(model, run=run)
    sparse = torch.optim.SparseAdam(table.parameters())
    dense = torch.optim.Adam(head.parameters(), lr=0.01)
    norms = []
    for _ in range(32):
        model.zero_grad()
        head(table(torch.randint(40, (16,)))).square().mean().backward()
        norms.append(float(head[0].weight.grad.norm()))
        sparse.step()
        dense.step()
    figures = by_layer(tracker)
    assert list(figures) == ["1.0", "1.2", "1.4"]
    assert {each.steps for each in figures.values()} == {32}
    assert figures["1.0"].total(Column.LOG_NORM) == pytest.approx(
        float(torch.tensor(norms).double().log().sum()), rel=1e-5
    )


def test_layers_that_compute_in_half_precision_are_observed_at_the_precision_they_keep(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    norms, moved = [], []
    for _ in range(32):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(8, 16)).square().mean()
        loss.backward()
        norms.append(float(model[0].weight.grad.norm()))
        before = model[0].weight.detach().clone()
        optimizer.step()
        weight = model[0].weight.detach()
        moved.append(float((weight - before).norm() / torch.maximum(before.norm(), weight.norm())))
    figures = tracker.figures()[0]
    assert figures.steps == 32
    assert figures.total(Column.LOG_NORM) == pytest.approx(
        float(torch.tensor(norms).double().log().sum()), rel=1e-4
    )
    assert figures.total(Column.RATIO) == pytest.approx(sum(moved), rel=0.05)


def test_detached_it_stops_and_keeps_its_figures(run: Run):
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses, optimizer = regression(model), sgd(model)
    train(optimizer, losses, 20)
    tracker.detach()
    train(optimizer, losses, 20)
    tracker.detach()
    assert tracker.steps == 20
    assert tracker.figures()[0].steps == 20


def test_a_loop_without_an_optimizer_calls_step(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses = regression(model)
    for step in range(64):
        model.zero_grad()
        losses(step).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
        tracker.step()
    figures = tracker.figures()[0]
    assert tracker.steps == figures.steps == run.step == 64
    assert figures.grad_norm(slice(None)) is not None
    assert figures.update_ratio(slice(None)) is None


def test_step_beside_an_optimizer_shows_the_loss_and_counts_nothing_twice(run: Run):
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses, optimizer = regression(model), sgd(model)
    for step in range(10):
        optimizer.zero_grad()
        loss = losses(step)
        loss.backward()
        optimizer.step()
        tracker.step(loss=loss)
    assert tracker.steps == tracker.summary["total_steps"] == 10
    assert tracker.summary["loss_last"] == pytest.approx(float(loss.detach()))
    assert tracker.summary["layer_names"] == ["0", "2", "4"]


def test_half_precision_layers_are_observed(run: Run):
    torch.manual_seed(0)
    model = mlp().bfloat16()
    tracker = FlowTracker(model, run=run)
    optimizer = sgd(model)
    for _ in range(64):
        optimizer.zero_grad()
        model(torch.randn(8, 16, dtype=torch.bfloat16)).square().mean().backward()
        optimizer.step()
    assert tracker.figures()[0].steps == 64


def test_layers_too_large_for_one_copy_take_turns(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradtracer.analyzers.weight_groups._COPY_AT_ONCE", 600)
    monkeypatch.setattr("gradtracer.analyzers.weight_groups._COPY_SHARE", 10**9)
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    train(sgd(model), regression(model), 64)
    measured = [figures.total(Column.MEASURED) for figures in tracker.figures()]
    assert sum(measured) == 64
    assert min(measured) >= 21


def test_an_optimizer_that_raises_leaves_the_next_step_right(run: Run):
    class Fails(torch.optim.SGD):
        fails = False

        def step(self, closure: object = None) -> None:
            if self.fails:
                raise RuntimeError("no step")
            super().step()

    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    losses, optimizer = regression(model), Fails(model.parameters(), lr=0.05)
    train(optimizer, losses, 8)
    optimizer.fails = True
    for _ in range(20):
        with pytest.raises(RuntimeError, match="no step"):
            train(optimizer, losses, 1)
    optimizer.fails = False
    train(optimizer, losses, 56)
    assert tracker.figures()[0].steps == 64


def test_what_has_no_layers_is_refused_with_an_example(run: Run):
    with pytest.raises(NothingToWatch, match=r"got int; pass e\.g\. FlowTracker\(model\)"):
        FlowTracker(3, run=run)
    with pytest.raises(NothingToWatch, match="Sequential holds no layer with a trainable weight"):
        FlowTracker(nn.Sequential(nn.ReLU()), run=run)


def test_a_second_tracker_takes_only_what_the_first_has_not(run: Run):
    model = mlp()
    FlowTracker(model, run=run)
    with pytest.raises(NothingToWatch, match="not observed already"):
        FlowTracker(model, run=run)


def test_a_fault_switches_the_tracker_off_and_the_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = Run(root=tmp_path)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    optimizer, losses = sgd(model), regression(model)
    train(optimizer, losses, 1)
    tracker._assigned.all[0]._places = []
    train(optimizer, losses, 5)
    run.finish()
    assert caplog.text.count("stopped observing layers while following gradients") == 1
