"""Towers beside each other: exact paces, imbalance, correlation with its lag."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_towers import TwoTower, one_optimizer, steps, two_optimizers
from torch import nn

import gradtracer
from gradtracer.agent import AgentExporter
from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.manager import FlowManager
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.statistics.tower_pace import LAGS, correlation, lagged_products

ADAM = torch.optim.Adam


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], count: int, seed: int = 0):
    each = steps(model, optimizers, seed)
    for _ in range(count):
        next(each)


def model_of(seed: int = 0, **how: bool) -> TwoTower:
    torch.manual_seed(seed)
    return TwoTower(**how)


class TowerTwin:
    """Gradients and weights around each step of one optimizer, in float64."""

    def __init__(self, model: TwoTower) -> None:
        self._towers = {"user": model.user_tower, "item": model.item_tower}
        self.pace: dict[str, list[float]] = {name: [] for name in self._towers}
        self.gradient: dict[str, list[float]] = {name: [] for name in self._towers}

    def before(self) -> None:
        self._weights = {n: self._of(t, "data") for n, t in self._towers.items()}
        self._gradients = {n: self._of(t, "grad") for n, t in self._towers.items()}

    def after(self) -> None:
        for name, tower in self._towers.items():
            moved = size = 0.0
            now = self._of(tower, "data")
            for key, gradient in self._gradients[name].items():
                rows = np.abs(gradient).sum(1) > 0 if "table" in key else slice(None)
                moved += float(((now[key] - self._weights[name][key])[rows] ** 2).sum())
                size += float((now[key][rows] ** 2).sum())
            self.pace[name].append(math.log(moved / size) / 2)
            total = sum(float((g**2).sum()) for g in self._gradients[name].values())
            self.gradient[name].append(math.log(total) / 2)

    def _of(self, tower: nn.Module, what: str) -> dict[str, np.ndarray]:
        found = {n: getattr(p, what) for n, p in tower.named_parameters() if p.dim() >= 2}
        return {
            n: (t.to_dense() if t.is_sparse else t).double().numpy() * 1 for n, t in found.items()
        }


def followed(run: Run, model: TwoTower, optimizer: torch.optim.Optimizer, count: int):
    manager = FlowManager(model, track_interval=1, run=run)
    twin = TowerTwin(model)
    before, after = optimizer.register_step_pre_hook, optimizer.register_step_post_hook
    handles = [before(lambda *_: twin.before()), after(lambda *_: twin.after())]
    train(model, [optimizer], count)
    for handle in handles:
        handle.remove()
    return manager, twin


@pytest.mark.parametrize("sparse", [False, True])
def test_pace_and_gradient_are_the_twins(run: Run, sparse: bool):
    model = model_of(sparse=sparse)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    manager, twin = followed(run, model, optimizer, 16 * 8 + 1)
    for figures in manager.figures():
        later = slice(16 * 4, 16 * 8)
        assert figures.steps == 128
        # A layer's movement is followed on a sample of its coordinates.
        assert figures.pace.log == pytest.approx(np.mean(twin.pace[figures.tower][later]), abs=0.05)
        assert figures.gradient.log == pytest.approx(
            np.mean(twin.gradient[figures.tower][later]), rel=1e-4
        )


def test_correlations_are_the_twins(run: Run):
    model = model_of()
    manager, twin = followed(run, model, ADAM(model.parameters(), lr=3e-3), 16 * 8 + 1)
    (user, _) = manager.figures()
    found = user.rivals[0].gradients_together
    bursts = [
        [np.array(twin.gradient[name][at : at + 16]) for name in ("user", "item")]
        for at in range(0, 128, 16)
    ]
    centred = [[x - x.mean() for x in pair] for pair in bursts]
    scale = math.sqrt(math.prod(sum(float(x[i] @ x[i]) for x in centred) for i in (0, 1)))
    at = {
        lag: sum(
            float(a[max(0, -lag) : 16 - max(0, lag)] @ b[max(0, lag) : 16 + min(0, lag)])
            for a, b in centred
        )
        / scale
        * (128 / (128 - 8 * abs(lag)))
        for lag in range(-LAGS, LAGS + 1)
    }
    lag = max(at, key=lambda each: abs(at[each]))
    assert found is not None
    assert (found.lag, found.value) == (lag, pytest.approx(at[lag], abs=1e-3))


def test_a_tower_that_follows_another_shows_its_lag():
    g = torch.Generator().manual_seed(0)
    source = torch.randn(20 * 16 + 3, generator=g, dtype=torch.float64)
    total = torch.zeros(2 * LAGS + 1, 2, 2, dtype=torch.float64)
    for burst in range(20):
        a = source[burst * 16 + 3 : burst * 16 + 19]
        b = source[burst * 16 : burst * 16 + 16]
        both = torch.stack([a, b], dim=1)
        total += lagged_products(both, torch.ones(16, dtype=torch.bool))
    found = correlation(total.numpy(), 0, 1, 320, 20)
    assert found is not None
    assert found.lag == 3
    assert found.value > 0.8
    assert found.p < 1e-6
    other = correlation(total.numpy(), 1, 0, 320, 20)
    assert other is not None
    assert other.lag == -3


def test_unrelated_towers_show_no_correlation_more_often_than_the_level_says():
    named = 0
    for seed in range(100):
        g = torch.Generator().manual_seed(seed)
        total = torch.zeros(2 * LAGS + 1, 2, 2, dtype=torch.float64)
        for _ in range(10):
            x = torch.randn(16, 2, generator=g, dtype=torch.float64)
            total += lagged_products(x, torch.ones(16, dtype=torch.bool))
        found = correlation(total.numpy(), 0, 1, 160, 10)
        assert found is not None
        named += found.p < 0.05
    assert named <= 12


@pytest.mark.parametrize("optimizers", [one_optimizer, two_optimizers])
@pytest.mark.parametrize("make", [ADAM, torch.optim.AdamW])
def test_a_tower_with_a_fraction_of_the_rate_is_named(run: Run, optimizers, make):
    model = model_of()
    manager = FlowManager(model, run=run)
    train(model, optimizers(model, make, slow=0.01), 200)
    found = manager.diagnose(manager.figures())
    assert list(found) == ["user"]
    (diagnosis,) = found["user"]
    assert diagnosis.type == "TOWER_IMBALANCE"
    assert diagnosis.layer == "tower.user"
    assert diagnosis.confidence > 0.99
    assert diagnosis.evidence[0].statistic == "tower_pace_ratio"
    assert 30 < diagnosis.evidence[0].value < 300
    assert "(now 3e-05)" in diagnosis.action
    offer = diagnosis.fixes[0]
    assert offer.fix == "raise-learning-rate"
    assert offer.parameters["parameters"] == "user_tower"
    assert diagnosis.evidence[0].value * 3e-5 / 3 == pytest.approx(offer.parameters["lr"], rel=0.05)
    assert diagnosis.related["optimizer"].frames


def test_a_tower_that_no_gradient_reaches_is_named_and_why(run: Run):
    model = model_of()
    model.detach_user = True
    manager = FlowManager(model, run=run)
    train(model, one_optimizer(model, ADAM), 200)
    (diagnosis,) = manager.diagnose(manager.figures())["user"]
    assert "No gradient reaches it." in diagnosis.premise
    assert [e.statistic for e in diagnosis.evidence] == [
        "tower_pace_ratio",
        "tower_gradient_ratio",
    ]
    assert "a detached output" in diagnosis.action


def test_a_tower_that_no_optimizer_holds_is_not_said_to_lack_a_gradient(run: Run):
    model = model_of()
    manager = FlowManager(model, run=run)
    held = [p for name, p in model.named_parameters() if "user" not in name]
    train(model, [torch.optim.Adam(held, lr=3e-3)], 200)
    (diagnosis,) = manager.diagnose(manager.figures())["user"]
    assert "No optimizer holds its weights." in diagnosis.premise
    assert diagnosis.action.startswith("Give the parameters of user to the optimizer.")
    assert [offer.fix for offer in diagnosis.fixes] == ["suppress"]


@pytest.mark.parametrize("lr", [1e-3, 1e-2])
@pytest.mark.parametrize("make", [ADAM, torch.optim.SGD, torch.optim.Adagrad])
def test_towers_that_learn_alike_hear_nothing(run: Run, make, lr: float):
    model = model_of(1)
    manager = FlowManager(model, run=run)
    train(model, one_optimizer(model, make, lr=lr), 400, seed=1)
    for _ in range(3):
        manager.publish(final=True)
    assert manager.diagnoses == []


def test_a_tower_that_catches_up_is_cleared(run: Run):
    model = model_of()
    manager = FlowManager(model, run=run)
    (optimizer,) = one_optimizer(model, ADAM, slow=0.001)
    each = steps(model, [optimizer], 0)

    def on(count: int) -> int:
        for step in range(count):
            next(each)
            if step % 32 == 31:
                manager.publish()
        return len(manager.diagnoses)

    assert on(160) == 1
    optimizer.param_groups[0]["lr"] = 3e-3
    assert on(1_200) == 0


def test_parts_in_a_row_are_compared_and_never_accused(run: Run):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    manager = FlowManager(model, run=run)
    optimizer = ADAM(
        [{"params": model[0].parameters(), "lr": 1e-6}, {"params": model[2].parameters()}], lr=1e-3
    )
    for _ in range(100):
        optimizer.zero_grad()
        model(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
    assert [figures.tower for figures in manager.figures()] == ["0", "2"]
    assert not manager.findings()


def test_steps_that_a_scaler_skips_are_left_out_and_figures_stay_finite(run: Run):
    model = model_of()
    manager = FlowManager(model, run=run)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    for step in range(161):
        optimizer.zero_grad()
        logits = model(torch.arange(64), torch.arange(64))
        loss = nn.functional.cross_entropy(logits, torch.arange(64))
        scaler.scale(loss * math.inf if step % 5 == 0 else loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert manager.figures()[0].steps == 160 * 4 // 5
    values = manager.summary()["towers"]["user"].values()
    assert all(math.isfinite(value) for value in values)
    assert not manager.findings()


def test_an_interval_follows_its_share(run: Run):
    model = model_of()
    manager = FlowManager(model, track_interval=10, run=run)
    train(model, one_optimizer(model, ADAM), 64 + 2 * 160 + 1)
    assert manager.figures()[0].steps == 64 + 2 * 16


def test_watch_compares_towers_and_can_be_told_not_to(tmp_path: Path):
    for more, expected in (({}, 1), ({"towers": False}, 0)):
        run = gradtracer.watch(model_of(), folder=str(tmp_path), publish=False, **more)
        kinds = [type(tracker) for tracker in run.trackers]
        run.finish()
        assert kinds.count(FlowManager) == expected
        assert kinds.count(FlowTracker) == 1
        assert kinds.count(EmbeddingTracker) == 2


def test_the_originals_collection_of_trackers_works_as_it_did(run: Run, capsys):
    model = model_of()
    manager = gradtracer.FlowManager("two towers")
    manager.add_tracker("users", EmbeddingTracker(model.user_tower.table, run=run))
    manager.add_tracker("layers", FlowTracker(model, run=run))
    train(model, one_optimizer(model, ADAM), 10)
    manager.step()
    summary = manager.summary()
    assert set(summary) == {"users", "layers", "global_zombies", "global_dead"}
    assert summary["global_dead"] == summary["users"]["dead_count"]
    manager.report()
    assert "two towers" in capsys.readouterr().out


def test_the_export_holds_towers_and_their_evidence(run: Run):
    model = model_of()
    manager = FlowManager(model, run=run)
    train(model, one_optimizer(model, ADAM, slow=0.01), 200)
    report = json.loads(AgentExporter.export_manager(manager))["gradtracer_manager_report"]
    user, item = report["towers"]
    assert user["modules"] == ["user_tower"]
    assert user["diagnostics"][0]["type"] == "TOWER_IMBALANCE"
    assert user["diagnostics"][0]["evidence"][0]["n"] >= 3
    assert item["diagnostics"]["status"].startswith("HEALTHY: no test finds anything wrong")
    assert report["summary"]["layers"]["num_layers"] == 4


def test_detached_it_stops(run: Run):
    model = model_of()
    manager = FlowManager(model, run=run)
    train(model, one_optimizer(model, ADAM), 100)
    manager.detach()
    train(model, one_optimizer(model, ADAM), 100)
    assert manager.figures()[0].steps == 96


def test_a_fault_switches_the_comparison_off_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = Run(root=tmp_path, settings=Settings(publish=False))
    model = model_of()
    manager = FlowManager(model, run=run)
    manager._observer.begin_step = None
    train(model, one_optimizer(model, ADAM), 20)
    run.finish()
    assert caplog.text.count("stopped comparing towers while following") == 1
    assert manager.trackers["layers"].steps == 20
