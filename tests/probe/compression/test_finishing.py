"""Finishing undoes what rounding cost, is refused where it did not, and leaves the model alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradtracer.compression import finish
from gradtracer.compression.simulation import simulated
from gradtracer.exceptions import UsageError
from gradtracer_schemas import Factor, LayerRecipe, Recipe

RECIPE = Recipe(
    model="Net",
    layers={
        "table": LayerRecipe(quantization="INT2", factor=Factor(rank=6)),
        "out": LayerRecipe(quantization="INT4"),
    },
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(60, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.table(ids))


IDS = torch.arange(60)


@pytest.fixture
def trained() -> tuple[Net, Tensor]:
    model = Net()
    return model, model(IDS).detach()


def test_finishing_wins_back_what_rounding_cost(trained: tuple[Net, Tensor]) -> None:
    model, target = trained
    before = {name: held.clone() for name, held in model.state_dict().items()}

    def quality(model: nn.Module) -> Tensor:
        return 10.0 - (model(IDS) - target).square().mean(1)

    torch.manual_seed(1)
    done = finish(
        model,
        RECIPE,
        loss=lambda model: F.mse_loss(model(IDS), target),
        evaluate=quality,
        steps=200,
        optimizer=lambda parameters: torch.optim.Adam(parameters, 1e-2),
    )
    assert done.kept
    assert done.ratio.value > 1
    lost = 10 - float(quality(simulated(model, RECIPE)).mean().detach())
    left = 10 - float(quality(simulated(done.model, done.recipe)).mean().detach())
    assert left < 0.7 * lost
    assert set(done.recipe.layers) == {"table.rows", "table.projection", "out"}
    assert all(torch.equal(model.state_dict()[name], held) for name, held in before.items())


def test_all_steps_are_averaged() -> None:
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    done = finish(
        model,
        Recipe(model="Linear", layers={}),
        loss=lambda model: model.get_parameter("weight").sum(),
        evaluate=lambda model: 10 - model.get_parameter("weight").item(),
        steps=5,
        optimizer=lambda parameters: torch.optim.SGD(parameters, 0.5),
    )
    assert done.kept
    # each step goes down by 0.5
    assert done.model.get_parameter("weight").item() == pytest.approx(start - 0.5 * 3)


def test_what_measured_no_better_is_not_kept(trained: tuple[Net, Tensor]) -> None:
    model, target = trained
    done = finish(
        model,
        RECIPE,
        loss=lambda model: model(IDS).square().mean(),
        evaluate=lambda model: 10 - (model(IDS) - target).square().mean(1).detach(),
        steps=30,
        optimizer=lambda parameters: torch.optim.SGD(parameters, 1.0),
    )
    assert not done.kept
    assert done.ratio.value < 1
    assert (done.model, done.recipe) == (model, RECIPE)


def test_no_step_and_a_loss_without_gradient_are_refused(trained: tuple[Net, Tensor]) -> None:
    model, target = trained

    def quality(model: nn.Module) -> Tensor:
        return 10 - (model(IDS) - target).square().mean(1).detach()

    with pytest.raises(UsageError, match="steps: expected 1 or more"):
        finish(model, RECIPE, lambda model: model(IDS).mean(), quality, steps=0)
    with pytest.raises(UsageError, match="loss: expected one with a gradient"):
        finish(model, RECIPE, lambda model: torch.tensor(1.0), quality)


def test_scores_are_followed_without_labels_and_without_dropout(
    trained: tuple[Net, Tensor],
) -> None:
    model, target = trained
    model.out = nn.Sequential(nn.Dropout(0.5), model.out)  # type: ignore[assignment]
    recipe = Recipe(
        model="Net",
        layers={
            "table": LayerRecipe(quantization="INT2", factor=Factor(rank=6)),
            "out.1": LayerRecipe(quantization="INT4"),
        },
    )

    def divergence(model: nn.Module) -> Tensor:
        found = model.eval()(IDS).log_softmax(-1)
        wanted = target.log_softmax(-1)
        return (wanted.exp() * (wanted - found)).sum(1).detach()

    def seen(model: nn.Module) -> Tensor:
        assert not model.training
        return model(IDS[torch.randint(60, (40,))])

    done = finish(
        model,
        recipe,
        None,
        lambda model: 10 - divergence(model),
        scores=seen,
        steps=200,
        optimizer=lambda parameters: torch.optim.Adam(parameters, 1e-2),
    )
    assert done.kept
    lost = float(divergence(simulated(model, recipe)).mean())
    left = float(divergence(simulated(done.model, done.recipe)).mean())
    assert left < 0.7 * lost


@pytest.mark.parametrize("gain", [-0.01, 0.01])
def test_what_follows_the_scores_is_kept_where_it_measured_better(
    gain: float, trained: tuple[Net, Tensor]
) -> None:
    model, _ = trained
    asked = iter([1.0, 1.0 + gain])
    done = finish(
        model, RECIPE, None, lambda _: next(asked), scores=lambda model: model(IDS), steps=2
    )
    assert done.kept == (gain > 0)


def test_one_of_loss_and_scores_is_asked_for(trained: tuple[Net, Tensor]) -> None:
    model, _ = trained
    with pytest.raises(UsageError, match="loss: expected it or scores"):
        finish(model, RECIPE, None, lambda model: 1.0)
    with pytest.raises(UsageError, match="loss: expected it or scores"):
        finish(
            model,
            RECIPE,
            lambda model: model(IDS).mean(),
            lambda model: 1.0,
            scores=lambda model: model(IDS),
        )
