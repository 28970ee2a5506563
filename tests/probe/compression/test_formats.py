"""Bytes and numbers foretold of a recipe are those of the model that is compressed by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradtracer.compression.application import compress
from gradtracer.compression.compressed_file import state_bytes
from gradtracer.compression.formats import bytes_stored, read_back
from gradtracer.compression.row_set import pack_rows
from gradtracer_schemas import Factor, LayerRecipe, Recipe, Tier

SOME_GONE = pack_rows(np.arange(50) > 40)
HOT = [Tier(quantization="INT8", rows=pack_rows(np.arange(50) < 5))]


@pytest.mark.parametrize(
    "entry",
    [
        LayerRecipe(quantization="FP16"),
        LayerRecipe(quantization="INT8"),
        LayerRecipe(quantization="INT2"),
        LayerRecipe(quantization="INT4", tiers=HOT, dropped=SOME_GONE),
        LayerRecipe(quantization="INT4", dropped=SOME_GONE, fallback="mean"),
        LayerRecipe(quantization="INT4", tiers=HOT, dropped=SOME_GONE, fallback="mean"),
        LayerRecipe(quantization="INT4", dropped=pack_rows(np.ones(50, dtype=bool))),
    ],
)
def test_bytes_and_read_back_are_those_of_the_compressed_model(entry: LayerRecipe) -> None:
    weight = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    model = nn.ModuleDict({"table": nn.Embedding.from_pretrained(weight)})
    compressed = compress(model, Recipe(model="", layers={"table": entry}))
    held = compressed.get_submodule("table").weight
    assert isinstance(held, Tensor)
    assert torch.equal(read_back(weight, entry, "layers.table"), held)
    assert bytes_stored(entry, 50, 10) == state_bytes(compressed)


def test_bytes_of_shapes_are_those_of_their_parts() -> None:
    narrow = LayerRecipe(quantization="INT4", factor=Factor(rank=4))
    assert bytes_stored(narrow, 100, 16) == 100 * 6 + 16 * 12
    pair = LayerRecipe(quantization="INT4", factor=Factor(rank=4, partners=["other"]))
    assert bytes_stored(pair, 100, 16) == 100 * 6
    two = LayerRecipe(quantization="FP16", low_rank=4)
    assert bytes_stored(two, 100, 16, bias=100) == 2 * 4 * 16 + 2 * 100 * 4 + 4 * 100


def test_dropped_rows_may_become_the_mean_of_the_others() -> None:
    weight = torch.randn(6, 3)
    entry = LayerRecipe(dropped=pack_rows(np.arange(6) > 3), fallback="mean")
    read = read_back(weight, entry, "layers.table")
    assert torch.allclose(read[4:], weight[:4].mean(0).expand(2, 3))
    assert torch.equal(read[:4], weight[:4])
