"""A rate that a diagnosis proposes does what it says, when one trains with it."""

from __future__ import annotations

import pytest
import torch
from layer_training import mlp, regression, train
from torch import nn

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.diagnoses.learning_rate import raise_rate
from gradtracer.run import Run
from gradtracer.statistics.step_history import Column
from gradtracer_schemas import FixOffer

STEPS = 200


def offers(tracker: FlowTracker, fix: str) -> dict[str, FixOffer]:
    return {
        layer: offer
        for layer, found in tracker.findings().items()
        for each in found
        for offer in each.fixes
        if offer.fix == fix
    }


def trained(run: Run, groups, make) -> tuple[nn.Module, FlowTracker]:
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    train(make(groups(model)), regression(model), STEPS)
    return model, tracker


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW])
def test_model_that_stands_still_is_offered_the_rate_that_moves_it(run: Run, make):
    _, tracker = trained(run, lambda m: m.parameters(), lambda p: make(p, lr=1e-9))
    found = offers(tracker, "raise-learning-rate")
    assert found.keys() == {"0", "2", "4"}
    assert all("parameters" not in offer.parameters for offer in found.values())
    assert all(offer.parameters["measured_lr"] == 1e-9 for offer in found.values())
    lr = found["2"].parameters["lr"]
    _, again = trained(run, lambda m: m.parameters(), lambda p: make(p, lr=lr))
    figures = next(each for each in again.figures() if each.layer.startswith("2"))
    usual = figures.total(Column.RATIO) / figures.total(Column.MEASURED)
    # What float32 rounds away of updates this small makes the measured ratio coarse.
    assert 5e-4 < usual < 1e-2


def test_layer_that_stands_still_alone_is_offered_a_group_of_its_own(run: Run):
    def groups(model):
        slow = list(model[2].parameters())
        rest = [p for p in model.parameters() if all(p is not q for q in slow)]
        return [{"params": slow, "lr": 1e-9}, {"params": rest}]

    _, tracker = trained(run, groups, lambda p: torch.optim.Adam(p, lr=1e-3))
    found = offers(tracker, "raise-learning-rate")
    assert {layer: offer.parameters["parameters"] for layer, offer in found.items()} == {"2": "2"}


def test_rate_is_not_raised_where_the_gradients_are_what_is_too_small() -> None:
    facts = OptimizerFacts("SGD", 0.1, 0.0, coupled=False, base_lr=0.1)
    assert raise_rate(facts, 11.0) is None
    assert raise_rate(facts, 0.9) is None
    offer = raise_rate(facts, 5.0, parameters="user")
    assert offer is not None
    assert offer.parameters == {"lr": 0.5, "measured_lr": 0.1, "parameters": "user"}


def test_training_on_noise_is_offered_a_tenth_of_its_rate(run: Run):
    torch.manual_seed(0)
    model = mlp()
    tracker = FlowTracker(model, run=run)
    generator = torch.Generator().manual_seed(1)

    def loss(_step: int) -> torch.Tensor:
        x, y = torch.randn(32, 16, generator=generator), torch.randn(32, 1, generator=generator)
        return (model(x) * y).mean()

    train(torch.optim.SGD(model.parameters(), lr=0.01), loss, 600)
    found = offers(tracker, "reduce-learning-rate")
    assert [offer.parameters for offer in found.values()] == [{"lr": 1e-3, "measured_lr": 0.01}]
