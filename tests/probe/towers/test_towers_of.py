"""Which parts of a model are towers."""

from __future__ import annotations

import pytest
from planted_towers import Tower, TwoTower
from torch import nn

from gradtracer.analyzers.towers import Towers, has_towers, towers_of
from gradtracer.exceptions import NothingToWatch


class Parts(nn.Module):
    """A model of the modules given."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def paths(found: Towers) -> dict[str, tuple[str, ...]]:
    return {tower.name: tower.paths for tower in found.towers}


def linear() -> nn.Module:
    return nn.Linear(4, 4)


def test_words_of_names_tell_of_towers():
    model = Parts(
        user_emb=nn.Embedding(9, 4),
        user_mlp=linear(),
        itemEmb=nn.Embedding(9, 4),
        item_mlp=linear(),
    )
    assert has_towers(model)
    found = towers_of(model)
    assert paths(found) == {"user": ("user_emb", "user_mlp"), "item": ("itemEmb", "item_mlp")}
    assert found.parallel
    assert [part.table for part in found.towers[0].parts] == [True, False]


def test_a_class_of_the_users_own_used_twice_tells_of_towers():
    model = Parts(reader=Tower(4), writer=Tower(4), head=linear())
    assert paths(towers_of(model)) == {"reader": ("reader",), "writer": ("writer",)}


def test_a_wrapper_around_the_model_is_looked_through():
    assert paths(towers_of(Parts(module=TwoTower()))) == {
        "user": ("module.user_tower",),
        "item": ("module.item_tower",),
    }


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(linear(), nn.ReLU(), linear()),
        Parts(block1=Tower(4), block2=Tower(4), head=linear()),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 2, enable_nested_tensor=False),
        Parts(user_emb=nn.Embedding(9, 4), item_emb=nn.Embedding(9, 4)),
        Parts(embedding=nn.Embedding(9, 4), encoder=nn.GRU(4, 4), head=linear()),
        Parts(user_mlp=linear().requires_grad_(False), item_mlp=linear()),
    ],
    ids=["sequence", "numbered blocks", "transformer", "two tables", "sequential", "frozen"],
)
def test_parts_in_a_row_are_no_towers(model: nn.Module):
    assert not has_towers(model)


def test_asked_for_towers_a_model_in_a_row_gives_its_children_and_says_so():
    model = Parts(items=nn.Embedding(9, 4), sequence=nn.GRU(4, 4), head=linear())
    found = towers_of(model)
    assert list(paths(found)) == ["items", "sequence", "head"]
    assert not found.parallel


def test_named_towers_are_taken_by_path_or_by_module():
    model = Parts(users=nn.Embedding(9, 4), convolution=linear(), films=nn.Embedding(9, 4))
    found = towers_of(model, {"a": ["users", model.convolution], "b": model.films})
    assert paths(found) == {"a": ("users", "convolution"), "b": ("films",)}
    assert found.parallel


def test_a_weight_of_two_towers_is_nobodys():
    model = TwoTower()
    model.item_tower.table.weight = model.user_tower.table.weight
    assert [len(tower.parts) for tower in towers_of(model).towers] == [2, 2]


def test_what_cannot_be_is_said_with_an_example():
    with pytest.raises(NothingToWatch, match="tower 'user': TwoTower has no module 'users'; pass"):
        towers_of(TwoTower(), {"user": "users", "item": "item_tower"})
    with pytest.raises(NothingToWatch, match=r"expected two or more; pass e\.g\. towers="):
        towers_of(TwoTower(), {"user": "user_tower"})
