"""Predicted damage against losses whose second derivatives are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import nn

from gradtracer.compression.candidates import CandidateMaker
from gradtracer.compression.sensitivity import (
    Sensitivity,
    calibrate,
    sample_rows,
)
from gradtracer.compression.simulation import simulated
from gradtracer_schemas import Recipe


def bowl(curvature: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """A table whose loss is half the weighted squared distance to where it stands."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"table": nn.Embedding(len(curvature), 8)})
    return model, model.get_parameter("table.weight").detach().clone()


def test_fisher_by_row_follows_the_gradients_and_leaves_no_gradient_behind() -> None:
    model, _ = bowl(torch.ones(10))
    ids = torch.tensor([3, 3, 5])
    fisher = calibrate(model, lambda m: m.get_submodule("table")(ids).sum(), passes=2).fisher[
        "table"
    ]
    assert fisher.tolist() == [0, 0, 0, 4.0, 0, 1.0, 0, 0, 0, 0]
    assert model.get_parameter("table.weight").grad is None


def test_predicted_damage_ranks_candidates_as_the_loss_does() -> None:
    g = torch.Generator().manual_seed(0)
    counts = torch.from_numpy(np.random.default_rng(0).zipf(1.5, 200).clip(max=2000))
    curvature = counts.float() / counts.sum()
    model, start = bowl(curvature)
    with torch.no_grad():
        model.get_parameter("table.weight").mul_(torch.rand(200, 1, generator=g) + 0.5)
    start = model.get_parameter("table.weight").detach().clone()

    def loss(model: nn.Module) -> torch.Tensor:
        moved = model.get_parameter("table.weight") - start
        return 0.5 * (curvature[:, None] * moved.square()).sum()

    ways = {
        "loss": Sensitivity({"table": counts.numpy()}, {}, loss),
        "fisher": Sensitivity({"table": counts.numpy()}, {"table": curvature}),
        "energy": Sensitivity({"table": counts.numpy()}, {}),
    }
    for source, sensitivity in ways.items():
        assert sensitivity.of("table") == source
        (unit,) = CandidateMaker(model, sensitivity, measures=True).units()
        changed = unit.candidates[:-1]
        assert len(changed) >= 4
        true = [
            float(loss(simulated_full(model, Recipe(model="M", layers=dict(each.layers)))))
            for each in changed
        ]
        rank = float(stats.spearmanr([each.damage for each in changed], true)[0])  # type: ignore[arg-type]
        assert rank >= 0.9, (source, rank)


def simulated_full(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The simulated model as one with a table of the full width."""
    with torch.no_grad():
        weight = simulated(model, recipe).get_submodule("table").weight
    return nn.ModuleDict({"table": nn.Embedding.from_pretrained(weight)})


def test_a_sample_is_drawn_by_weight_and_is_the_same_each_time() -> None:
    weights = np.zeros(10_000)
    weights[[7, 9]] = [3, 1]
    rows = sample_rows(weights, 10_000, 400)
    assert rows is not None
    assert (rows == 7).sum() == 300
    assert (rows == 9).sum() == 100
    again = sample_rows(weights, 10_000, 400)
    assert again is not None and torch.equal(rows, again)
    assert sample_rows(weights, 400, 400) is None
    unknown = sample_rows(None, 10_000, 400)
    assert unknown is not None and len(unknown) == 400
