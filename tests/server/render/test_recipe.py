"""What a recipe does to a layer is one line, and says whether its quality was measured."""

from __future__ import annotations

import msgspec

from gradtracer_schemas import Factor, LayerRecipe, Recipe, RowSet, Tier, size_in_words
from gradtracer_server.render.recipe import layer_line

ITEM = LayerRecipe(quantization="INT4", bytes_before=25_600_000, bytes_after=3_600_000)
PREDICTED = Recipe(
    model="MF",
    layers={"item_emb": ITEM, "head": LayerRecipe(bytes_before=8, bytes_after=8), "left": None},
    metric="NDCG@10",
)
MEASURED = msgspec.structs.replace(
    PREDICTED,
    measured=True,
    quality_before=0.1,
    quality_after=0.09995,
    floor=0.995,
    floor_held=True,
)


def test_bytes_and_measured_quality_are_told() -> None:
    assert layer_line("item_emb", MEASURED) == (
        "Recipe: 25.60 MB -> 3.60 MB as INT4, NDCG@10 -0.05 % measured with the whole recipe."
    )


def test_a_prediction_does_not_pass_for_a_measurement() -> None:
    assert layer_line("item_emb", PREDICTED).endswith("as INT4, NDCG@10 not measured.")
    below = msgspec.structs.replace(MEASURED, quality_after=0.09, floor_held=False)
    assert layer_line("item_emb", below).endswith("-10.00 % measured with the whole recipe, below "
                                                  "the floor of 0.995.")  # fmt: skip


def test_nothing_is_said_of_a_layer_that_stays() -> None:
    assert [layer_line(each, MEASURED) for each in ("head", "left", "unknown")] == [""] * 3
    assert layer_line("item_emb", None) == ""


def test_tiers_and_ranks_are_named() -> None:
    rows = RowSet(count=9)
    entry = msgspec.structs.replace(
        ITEM, tiers=[Tier(quantization="INT8", rows=rows)], factor=Factor(rank=16)
    )
    recipe = msgspec.structs.replace(PREDICTED, layers={"item_emb": entry})
    assert " as INT8 and INT4 of 16 columns, " in layer_line("item_emb", recipe)


def test_small_and_large_sizes_have_their_units() -> None:
    assert [size_in_words(each) for each in (2_000_000, 1_500, None)] == [
        "2.00 MB",
        "1.5 KB",
        "an unknown size",
    ]
