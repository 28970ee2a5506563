"""A recipe is applied as it says, to any model, or refused with the path of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradtracer
from gradtracer.compression.compressed_file import state_bytes
from gradtracer.compression.formats import bytes_stored
from gradtracer.compression.packed_layers import PackedEmbedding, PackedEmbeddingBag, PackedLinear
from gradtracer.compression.row_format import stored_as
from gradtracer.compression.row_set import pack_rows
from gradtracer.compression.simulation import simulated
from gradtracer.exceptions import NotAModel, NotCompressible, RecipeError
from gradtracer_schemas import Factor, LayerRecipe, Recipe, Tier


class TwoTower(nn.Module):
    """Two tables, a bag, an MLP and a norm; `tied` gives the head the items' table."""

    def __init__(self, width: int = 8, tied: bool = False) -> None:
        super().__init__()
        self.user = nn.Embedding(30, width)
        self.item = nn.Embedding(50, width, padding_idx=0)
        self.history = nn.EmbeddingBag(50, width, mode="mean", padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 50)
        if tied:
            self.head.weight = self.item.weight
            self.history.weight = self.item.weight

    def forward(self, user: Tensor, seen: Tensor) -> Tensor:
        return self.head(self.norm(self.mlp(self.user(user)) + self.history(seen)))


USERS, SEEN = torch.arange(5), torch.arange(20).view(5, 4)


def model(width: int = 8, tied: bool = False) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(width, tied).eval()


def recipe(**layers: dict[str, Any] | None) -> dict[str, Any]:
    return {"model": "TwoTower", "layers": layers}


def test_each_layer_is_stored_as_said_and_the_original_stays() -> None:
    original = model()
    before = {name: each.clone() for name, each in original.state_dict().items()}
    packed = gradtracer.compress(
        original,
        {
            "model": "TwoTower",
            "layers": {
                "user": {"quantization": "INT8"},
                "item.weight": {"quantization": "INT4"},
                "re:mlp\\..*": {"quantization": "FP16"},
                "mlp.2": None,
                "_default": {"quantization": "INT2"},
            },
        },
    )
    assert isinstance(packed.user, PackedEmbedding)
    assert isinstance(packed.history, PackedEmbeddingBag)
    assert isinstance(packed.mlp[0], PackedLinear)
    assert type(packed.mlp[2]) is nn.Linear
    assert type(packed.norm) is nn.LayerNorm
    for layer, quantization in (
        (packed.user, "INT8"),
        (packed.item, "INT4"),
        (packed.head, "INT2"),
    ):
        name = "user" if layer is packed.user else "item" if layer is packed.item else "head"
        expected = stored_as(before[f"{name}.weight"], quantization)
        assert torch.allclose(layer.weight, expected, atol=1e-6)
    assert all(torch.equal(each, before[name]) for name, each in original.state_dict().items())
    assert type(original.user) is nn.Embedding
    assert packed(USERS, SEEN).shape == (5, 50)
    # what was not packed is a copy: training it leaves the original as it was
    packed.norm.weight.data.zero_()
    assert original.norm.weight.abs().sum() > 0


def test_tiers_and_dropped_rows_come_out_of_the_recipe() -> None:
    hot, gone = np.arange(50) < 10, np.arange(50) >= 40
    entry = LayerRecipe(
        quantization="INT4",
        tiers=[Tier(quantization="INT8", rows=pack_rows(hot))],
        dropped=pack_rows(gone),
        prune_ratio=0.2,
        shape=[50, 8],
    )
    original = model()
    packed = gradtracer.compress(original, Recipe(model="TwoTower", layers={"item": entry}))
    seen, weight = packed.item.weight, original.item.weight.detach()
    assert torch.allclose(seen[:10], stored_as(weight[:10], "INT8"), atol=1e-6)
    assert torch.allclose(seen[10:40], stored_as(weight[10:40], "INT4"), atol=1e-6)
    assert not seen[40:].any()


def test_changes_of_shape_are_made_before_packing() -> None:
    layers = {
        "user": {"quantization": "INT8", "factor": {"rank": 8}},
        "mlp.0": {"quantization": "INT8", "low_rank": 8},
    }
    original = model()
    packed = gradtracer.compress(original, {"model": "TwoTower", "layers": layers})
    assert isinstance(packed.user.rows, PackedEmbedding)
    assert isinstance(packed.mlp[0][1], PackedLinear)
    # full rank loses only what eight bits lose
    assert torch.allclose(packed(USERS, SEEN), original(USERS, SEEN), atol=0.1)


def test_tables_that_meet_are_narrowed_together_and_packed() -> None:
    class Dot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item = nn.Embedding(30, 8), nn.Embedding(50, 8)

        def forward(self, user: Tensor, item: Tensor) -> Tensor:
            return (self.user(user) * self.item(item)).sum(-1)

    def entry(partner: str) -> LayerRecipe:
        return LayerRecipe(quantization="INT8", factor=Factor(rank=8, partners=[partner]))

    layers: dict[str, LayerRecipe | None] = {"user": entry("item"), "item": entry("user")}
    dot = Dot().eval()
    packed = gradtracer.compress(dot, Recipe(model="Dot", layers=layers))
    ids = torch.arange(30)
    assert torch.allclose(packed(ids, ids), dot(ids, ids), atol=0.2)


@pytest.mark.parametrize("width", [7, 8])
def test_tied_layers_are_packed_once_and_their_bytes_counted_once(width: int) -> None:
    original = model(width, tied=True)
    packed = gradtracer.compress(original, recipe(item={"quantization": "INT8"}))
    assert packed.item.table is packed.head.table
    assert packed.item.table is packed.history.table
    others = sum(
        each.nbytes
        for name, each in original.state_dict().items()
        if name not in ("item.weight", "head.weight", "history.weight")
    )
    assert state_bytes(packed) == others + 50 * (width + 8)
    assert torch.allclose(packed(USERS, SEEN), original(USERS, SEEN), atol=0.1)


def test_a_shared_weight_takes_no_two_recipes() -> None:
    layers = recipe(item={"quantization": "INT8"}, head={"quantization": "INT4"})
    with pytest.raises(RecipeError, match=r"layers.head: expected the same as of item, whose"):
        gradtracer.compress(model(tied=True), layers)
    layers = recipe(item={"quantization": "INT8"}, head=None)
    with pytest.raises(RecipeError, match=r"layers.head: expected the same as of item, whose"):
        gradtracer.compress(model(tied=True), layers)


def test_in_place_the_layers_of_the_model_itself_are_replaced() -> None:
    original = model()
    assert gradtracer.compress(original, recipe(user={"quantization": "INT8"}), inplace=True) is (
        original
    )
    assert isinstance(original.user, PackedEmbedding)
    with pytest.raises(RecipeError, match="leave inplace out"):
        gradtracer.compress(model(), recipe(user={"factor": {"rank": 2}}), inplace=True)


def test_a_model_that_is_one_layer_becomes_another() -> None:
    layers = {"model": "Embedding", "layers": {"_default": {"quantization": "INT4"}}}
    assert isinstance(gradtracer.compress(nn.Embedding(9, 3), layers), PackedEmbedding)


def test_a_watched_model_is_compressed_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    original = model()
    run = gradtracer.watch(original, optimizer=torch.optim.SGD(original.parameters(), lr=0.1))
    try:
        packed = gradtracer.compress(original, recipe(_default={"quantization": "INT8"}))
        assert torch.allclose(packed(USERS, SEEN), original(USERS, SEEN), atol=0.1)
    finally:
        run.finish()


def test_rows_longer_than_max_norm_are_stored_as_they_would_be_looked_up() -> None:
    table = nn.Embedding(20, 4, max_norm=1.0)
    packed = gradtracer.compress(table, recipe(_default={"quantization": "INT8"}))
    assert torch.allclose(packed(torch.arange(20)), table(torch.arange(20)).detach(), atol=0.02)


def test_a_recipe_for_another_model_names_the_layers_that_differ() -> None:
    wrong = {"model": "MF", "layers": {"users": {"quantization": "INT8"}, "item": None}}
    with pytest.raises(RecipeError) as caught:
        gradtracer.compress(model(), wrong)
    assert str(caught.value) == (
        "layers: expected layers of this TwoTower, got users, which it lacks: the recipe was made "
        "for MF; not in the recipe: user, history, mlp.0, mlp.2, head"
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"quantization": "INT8", "shape": [51, 8]}, r"layers.item.shape: expected \[50, 8\]"),
        (
            {"dropped": {"count": 1, "bitmap": pack_rows(np.arange(99) == 3).bitmap}},
            r"layers.item.dropped.bitmap: expected 7 bytes for 50 rows, got more",
        ),
        ({"quantization": "INT3"}, r"Invalid enum value 'INT3' - at `\$.layers.item.quantization`"),
        ({"prune_ratio": 1.8}, r"`\$.layers.item.prune_ratio`"),
        ({"prune_ratio": 0.8}, r"layers.item.prune_ratio: expected `dropped` or `kept_units`"),
        (
            {"tiers": [{"quantization": "INT8", "rows": {"count": 2, "bitmap": "?"}}]},
            r"layers.item.tiers\[0\].rows.bitmap: expected base64",
        ),
        ({"tiers": [{"rows": {"count": 2}}]}, r"`\$.layers.item.tiers\[0\]`"),
        ("INT8", r"`\$.layers.item`"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_by_the_path_of_its_field(
    entry: Any, message: str, tmp_path: Path
) -> None:
    given = recipe(item=entry)
    with pytest.raises(RecipeError, match=message):
        gradtracer.compress(model(), given)
    path = tmp_path / "gradtracer_recipe.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        gradtracer.compress(model(), path)


def test_a_row_in_two_tiers_is_refused() -> None:
    rows = {"count": 1, "bitmap": pack_rows(np.arange(50) == 7).bitmap}
    tier = {"quantization": "INT8", "rows": rows}
    with pytest.raises(RecipeError, match=r"tiers\[1\].rows: expected rows .* got row 7 again"):
        gradtracer.compress(model(), recipe(item={"tiers": [tier, tier]}))
    with pytest.raises(RecipeError, match=r"item.dropped: expected rows .* got row 7 again"):
        gradtracer.compress(model(), recipe(item={"tiers": [tier], "dropped": rows}))


def test_a_layer_that_cannot_be_packed_is_an_error_by_name_and_left_alone_by_default() -> None:
    for name, kind in (("norm", "LayerNorm"), ("mlp", "Sequential")):
        with pytest.raises(RecipeError, match=f"layers.{name}: expected .* got {kind}"):
            gradtracer.compress(model(), recipe(**{name: {"quantization": "INT8"}}))
    packed = gradtracer.compress(model(), recipe(_default={"quantization": "INT8"}))
    assert type(packed.norm) is nn.LayerNorm


def test_pytorchs_attention_keeps_the_weights_that_it_hands_to_its_kernels() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    packed = gradtracer.compress(layer, recipe(_default={"quantization": "INT8"}))
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        assert torch.allclose(packed(x), layer(x), atol=0.1)
    assert type(packed.self_attn.out_proj) is type(layer.self_attn.out_proj)


def test_weights_that_are_no_numbers_are_named_by_layer_and_row() -> None:
    broken = model()
    broken.item.weight.data[17, 2] = float("nan")
    with pytest.raises(NotCompressible, match=r"layers.item: .*1 of 50 rows \(first: 17\)"):
        gradtracer.compress(broken, recipe(item={"quantization": "INT4"}))


def test_what_is_no_model_and_no_recipe_is_said() -> None:
    with pytest.raises(NotAModel, match=r"expected a torch.nn.Module, got OrderedDict"):
        gradtracer.compress(model().state_dict(), recipe())  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"`\$.layers`"):
        gradtracer.compress(model(), {"model": "TwoTower", "layers": 3})
    with pytest.raises(FileNotFoundError):
        gradtracer.compress(model(), "nowhere.json")


def test_a_compressed_model_answers_and_weighs_what_was_foretold() -> None:
    hot, gone = np.arange(50) % 5 == 0, np.arange(50) % 7 == 1
    entry = LayerRecipe(
        quantization="INT4",
        tiers=[Tier(quantization="INT8", rows=pack_rows(hot & ~gone))],
        dropped=pack_rows(gone),
    )
    user = LayerRecipe(quantization="INT2", factor=Factor(rank=4))
    whole = Recipe(model="TwoTower", layers={"history": entry, "user": user})
    original = model()
    packed = gradtracer.compress(original, whole)
    assert torch.allclose(packed(USERS, SEEN), simulated(original, whole)(USERS, SEEN), atol=1e-4)
    assert state_bytes(packed.user) == bytes_stored(user, 30, 8)
    assert state_bytes(packed.history) == bytes_stored(entry, 50, 8)
