"""The rise of losses whose derivatives are known, and of one that has no second."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradtracer.compression.loss_rise import LossRise


def table() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"table": nn.Embedding(10, 8)})


def test_slope_and_curvature_are_told_apart() -> None:
    model = table()
    start = model.get_parameter("table.weight").detach().clone()
    curvature, slope = torch.arange(1.0, 11.0)[:, None], torch.randn(10, 8)

    def loss(model: nn.Module) -> Tensor:
        moved = model.get_parameter("table.weight") - start
        return 3 + (slope * moved).sum() + 0.5 * (curvature * moved.square()).sum()

    change = torch.randn(10, 8)
    rise = LossRise(model, loss).along([("table", change)])
    assert rise.odd == pytest.approx(float((slope * change).sum()), rel=1e-4)
    assert rise.even == pytest.approx(0.5 * float((curvature * change.square()).sum()), rel=1e-4)
    assert rise.whole == rise.odd + rise.even
    weight = model.get_parameter("table.weight")
    assert torch.equal(weight, start) and weight.grad is None


def test_a_bag_that_has_no_second_derivative_has_a_rise() -> None:
    bag = nn.EmbeddingBag(10, 8, sparse=True)
    model = nn.ModuleDict({"bag": bag})
    ids = torch.arange(10).view(2, 5)
    change = torch.ones(10, 8)
    rise = LossRise(model, lambda m: m.get_submodule("bag")(ids).square().sum()).along(
        [("bag", change)]
    )
    assert rise.even == pytest.approx(16.0, rel=1e-4)


def test_a_loss_that_draws_is_asked_on_the_same_batches_and_randomness_is_left_alone() -> None:
    model, asked = table(), list[int]()

    def loss(model: nn.Module) -> Tensor:
        row = int(torch.randint(10, (1,)))
        asked.append(row)
        return model.get_parameter("table.weight")[row].square().sum()

    state = torch.get_rng_state()
    rises = LossRise(model, loss)
    drawn = len(asked)
    first, again = (rises.along([("table", torch.ones(10, 8))]) for _ in range(2))
    assert first == again
    each = (len(asked) - drawn) // 4
    assert asked[-each:] == asked[-2 * each : -each] and len(set(asked[-each:])) > 1
    assert torch.equal(torch.get_rng_state(), state)
