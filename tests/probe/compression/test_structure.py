"""Shapes change as the recipe says, everything else stays, and what cannot be done is said."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradtracer.compression.row_set import pack_rows
from gradtracer.compression.structure import FactorisedTable, narrow
from gradtracer.exceptions import RecipeError
from gradtracer_schemas import Factor, LayerRecipe, Recipe


class Scorer(nn.Module):
    """Two tables that meet in a dot product, and a network beside them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.user = nn.Embedding(30, 8, padding_idx=0)
        self.item = nn.Embedding(40, 8)
        self.bag = nn.EmbeddingBag(20, 8, mode="mean")
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.user(users) * self.item(items)).sum(-1) + self.net(self.item(items))[:, 0]


def recipe(**layers: Any) -> Recipe:
    return Recipe(model="Scorer", layers=layers)


def factor(rank: int, *partners: str, **more: Any) -> LayerRecipe:
    return LayerRecipe(
        quantization="INT4", factor=Factor(rank=rank, partners=list(partners)), **more
    )


def test_tables_that_meet_are_narrowed_together_and_the_original_is_left_alone() -> None:
    model = Scorer()
    before = copy.deepcopy(model.state_dict())
    narrowed, rest = narrow(model, recipe(user=factor(3, "item"), item=factor(3, "user")))
    scores = narrowed.user.weight @ narrowed.item.weight.T
    P, singular, Qt = torch.linalg.svd(model.user.weight @ model.item.weight.T)
    assert torch.allclose(scores, P[:, :3] * singular[:3] @ Qt[:3], atol=1e-4)
    assert (narrowed.user.embedding_dim, narrowed.user.padding_idx) == (3, 0)
    assert rest.layers["user"] == LayerRecipe(quantization="INT4")
    assert all(torch.equal(model.state_dict()[name], held) for name, held in before.items())


def test_a_table_alone_keeps_its_width_outside() -> None:
    model = Scorer()
    narrowed, rest = narrow(model, recipe(item=factor(8), bag=factor(8)))
    users, items = torch.arange(10), torch.arange(10)
    assert isinstance(narrowed.item, FactorisedTable)
    assert torch.allclose(narrowed(users, items), model(users, items), atol=1e-5)
    assert torch.allclose(narrowed.item.weight, model.item.weight, atol=1e-5)
    x = torch.randn(3, 8)
    assert torch.allclose(narrowed.item.scores(x), x @ model.item.weight.T, atol=1e-5)
    bags = torch.tensor([[1, 2], [3, 4]])
    assert torch.allclose(narrowed.bag(bags), model.bag(bags), atol=1e-6)
    assert set(rest.layers) == {"item.rows", "item.projection", "bag.rows", "bag.projection"}
    entries = [rest.layers["item.rows"], rest.layers["item.projection"]]
    assert [entry and entry.quantization for entry in entries] == ["INT4", "INT8"]


def test_dropped_rows_do_not_shape_the_axes() -> None:
    model = Scorer()
    dropped = np.zeros(40, dtype=bool)
    dropped[20:] = True
    with torch.no_grad():
        model.item.weight[20:] *= 100
    narrowed, rest = narrow(model, recipe(item=factor(4, dropped=pack_rows(dropped))))
    alone = nn.Embedding.from_pretrained(model.item.weight[:20].detach())
    kept, _ = narrow(nn.ModuleDict({"item": alone}), recipe(item=factor(4)))
    assert torch.allclose(narrowed.item.weight[:20], kept["item"].weight, atol=1e-4)
    assert rest.layers["item.rows"].dropped is not None


def test_a_linear_layer_becomes_two() -> None:
    model = Scorer()
    narrowed, rest = narrow(model, recipe(**{"net.0": LayerRecipe(low_rank=8)}))
    x = torch.randn(5, 8)
    assert torch.allclose(narrowed.net(x), model.net(x), atol=1e-5)
    assert [layer.weight.shape for layer in narrowed.net[0]] == [(8, 8), (16, 8)]
    assert set(rest.layers) == {"net.0.0", "net.0.1"}


def test_units_are_taken_out_and_the_next_layer_s_inputs_with_them() -> None:
    model = Scorer()
    kept = np.ones(16, dtype=bool)
    kept[[2, 5]] = False
    with torch.no_grad():
        model.net[0].weight[[2, 5]] = 0
        model.net[0].bias[[2, 5]] = -1
    layers = {
        "net.0": LayerRecipe(kept_units=pack_rows(kept)),
        "net.2": LayerRecipe(kept_inputs=pack_rows(kept)),
    }
    narrowed, _ = narrow(model, recipe(**layers))
    x = torch.randn(5, 8)
    assert narrowed.net[0].weight.shape == (14, 8)
    assert torch.allclose(narrowed.net(x), model.net(x), atol=1e-6)


def test_a_default_takes_the_layers_that_it_can_mean() -> None:
    narrowed, rest = narrow(Scorer(), recipe(_default=LayerRecipe(low_rank=1)))
    assert isinstance(narrowed.user, nn.Embedding)
    assert isinstance(narrowed.net[0], nn.Sequential)
    assert rest.layers["_default"] == LayerRecipe()


def test_a_module_that_the_model_holds_twice_is_replaced_twice() -> None:
    model = Scorer()
    model.again = model.item
    narrowed, _ = narrow(model, recipe(item=factor(2)))
    assert narrowed.again is narrowed.item


def test_what_is_narrowed_trains() -> None:
    model, _ = narrow(Scorer(), recipe(item=factor(2), **{"net.0": LayerRecipe(low_rank=2)}))
    loss = F.mse_loss(model(torch.arange(5), torch.arange(5)), torch.ones(5))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert name.startswith("bag") or parameter.grad is not None, name


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"item": factor(9)}, r"layers\.item: expected a rank of at most 8, got 9"),
        ({"item": factor(2, "user")}, r"item\.factor\.partners: .* 'user' which does not"),
        ({"item": factor(2, "user"), "user": factor(3, "item")}, r"factor\.rank: expected"),
        ({"item": factor(2, shape=[41, 8])}, r"item\.shape: expected \[40, 8\]"),
        ({"net.0": factor(2)}, r"net\.0\.factor: expected an nn\.Embedding.*got Linear"),
        ({"item": LayerRecipe(low_rank=2)}, r"item\.low_rank: expected an nn\.Linear"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_path(
    layers: dict[str, LayerRecipe], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        narrow(Scorer(), recipe(**layers))


def test_a_tied_weight_is_refused_by_its_other_name() -> None:
    model = Scorer()
    model.head = nn.Linear(8, 40, bias=False)
    model.head.weight = model.item.weight
    with pytest.raises(RecipeError, match=r"layers\.item: .*head\.weight too"):
        narrow(model, recipe(item=factor(2)))


def test_a_bag_of_maxima_and_a_bounded_table_are_refused() -> None:
    model = Scorer()
    model.bag.mode = "max"
    with pytest.raises(RecipeError, match="mode 'max'"):
        narrow(model, recipe(bag=factor(2)))
    model.item.max_norm = 1.0
    with pytest.raises(RecipeError, match="max_norm"):
        narrow(model, recipe(item=factor(2)))
