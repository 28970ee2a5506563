"""COMPRESSIBLE: raised where a measured recipe makes a layer smaller and surely keeps the floor."""

from __future__ import annotations

import msgspec
import pytest

from gradtracer.diagnoses.compressible import examine
from gradtracer_schemas import LayerRecipe, Recipe, size_in_words

RECIPE = Recipe(
    model="MF",
    layers={
        "item_emb": LayerRecipe(
            quantization="INT4", bytes_before=25_600_000, bytes_after=3_600_000, reason="INT4."
        ),
        "head": LayerRecipe(bytes_before=256, bytes_after=256),
        "frozen": None,
    },
    bytes_before=25_600_256,
    bytes_after=3_600_256,
    metric="NDCG@10",
    quality_before=0.0681,
    quality_after=0.06807,
    quality_interval=(0.9975, 1.0016),
    quality_level=0.8,
    measured=True,
    floor=0.995,
    floor_held=True,
    path="gradtracer_recipe.json",
)


def test_a_measured_saving_is_told_with_its_interval() -> None:
    found = examine("item_emb", RECIPE, 943)
    assert found is not None
    assert found.premise.startswith("item_emb needs 3.60 MB instead of 25.60 MB")
    assert "NDCG@10 changes by -0.04 %" in found.premise
    (evidence,) = found.evidence
    assert evidence.value == pytest.approx(0.06807 / 0.0681)
    assert (evidence.threshold, evidence.interval) == (0.995, (0.9975, 1.0016))
    assert (evidence.n, evidence.interval_level) == (943, 0.8)
    assert found.fixes[0].fix == "apply-recipe"
    assert found.fixes[0].parameters == {"path": "gradtracer_recipe.json"}


def test_confidence_falls_as_the_interval_widens() -> None:
    narrow = examine("item_emb", RECIPE, 943)
    wide = examine("item_emb", msgspec.structs.replace(RECIPE, quality_interval=(0.95, 1.05)), 943)
    assert narrow is not None
    assert wide is not None
    assert narrow.confidence > 0.99 > wide.confidence > 0.5


@pytest.mark.parametrize("layer", ["head", "frozen", "unknown"])
def test_a_layer_that_is_left_as_it_is_is_not_named(layer: str) -> None:
    assert examine(layer, RECIPE, 943) is None


@pytest.mark.parametrize(
    "change",
    [
        {"floor_held": False},
        {"floor_held": None},
        {"quality_interval": None},
        {"quality_after": None},
        {"quality_before": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_only_predicted_or_fell_below_the_floor_is_not_named(
    change: dict[str, object],
) -> None:
    assert examine("item_emb", msgspec.structs.replace(RECIPE, **change), 943) is None


def test_sizes_are_told_in_units_that_fit() -> None:
    assert [size_in_words(n) for n in (25_600_000, 210_000, 12_345, None)] == [
        "25.60 MB",
        "0.21 MB",
        "12.3 KB",
        "an unknown size",
    ]
