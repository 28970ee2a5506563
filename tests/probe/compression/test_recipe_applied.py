"""A recipe found is a recipe applied: the packed model scores as the simulated one did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradtracer
from gradtracer.compression import finish
from gradtracer.compression.simulation import simulated
from gradtracer_schemas import Recipe


class Towers(nn.Module):
    """A user and an item table that meet in a dot product, a bag that goes through a network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.user = nn.Embedding(200, 16)
        self.item = nn.Embedding(300, 16)
        self.bag = nn.EmbeddingBag(300, 16, mode="mean")
        self.net = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 300))

    def score_all(self) -> Tensor:
        users = self.user(torch.arange(200))
        table = self.item
        scores = table.scores(users) if hasattr(table, "scores") else users @ table.weight.T
        past = torch.arange(200)[:, None] + torch.arange(5)
        return scores + self.net(self.bag(past))


@pytest.fixture
def model() -> Towers:
    model = Towers().eval()
    with torch.no_grad():
        for table in (model.user, model.item):
            table.weight[:, 4:] *= 0.02
    return model


def quality_of(target: Tensor) -> object:
    @torch.no_grad()
    def quality(model: nn.Module) -> Tensor:
        return 1 - (model.score_all() - target).square().mean(1) / target.square().mean(1)

    return quality


def test_every_recipe_of_the_front_packs_to_what_was_measured(model: Towers) -> None:
    target = model.score_all().detach()
    counts = np.ones(300, dtype=np.int64)
    counts[:20] = 200
    generator = gradtracer.RecipeGenerator(
        model, evaluate=quality_of(target), floor=0.9, look_ups={"bag": counts}
    )
    recipe = generator.generate()
    user = recipe.layers["user"]
    assert user is not None and user.factor is not None
    assert recipe.floor_held
    kinds: set[str] = set()
    for layers in [recipe.layers, *(point.layers for point in recipe.front)]:
        whole = Recipe(model="Towers", layers=dict(layers))
        packed = gradtracer.compress(model, whole)
        scores = packed.score_all()
        assert torch.allclose(scores, simulated(model, whole).score_all(), atol=2e-3)
        kinds |= {entry.quantization for entry in layers.values() if entry}
    assert {"INT8", "INT4"} <= kinds
    packed = gradtracer.compress(model, recipe)
    held = sum(each.numel() * each.element_size() for each in packed.state_dict().values())
    assert recipe.bytes_after == pytest.approx(held, rel=0.02)


def test_a_finished_model_packs_by_the_recipe_that_comes_with_it(model: Towers) -> None:
    target = model.score_all().detach()
    quality = quality_of(target)
    recipe = gradtracer.RecipeGenerator(model, evaluate=quality, floor=0.9).generate()
    done = finish(
        model,
        recipe,
        lambda each: (each.score_all() - target).square().mean(),
        quality,
        steps=60,
    )
    packed = gradtracer.compress(done.model, done.recipe)
    expected = simulated(done.model, done.recipe).score_all()
    assert torch.allclose(packed.score_all(), expected, atol=2e-3)
