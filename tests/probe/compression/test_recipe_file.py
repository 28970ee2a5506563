"""A recipe on disk is always whole, and a layer takes the entry that torchao's order gives it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gradtracer.compression.recipe_file import (
    layer_recipe,
    matching_key,
    read_recipe,
    write_recipe,
)
from gradtracer.exceptions import RecipeError
from gradtracer_schemas import LayerRecipe, Recipe

INT8 = LayerRecipe(quantization="INT8")


def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe(model="MF", layers={"item_emb": INT8, "user_emb": None}, floor=0.995)
    assert read_recipe(write_recipe(tmp_path / "r.json", recipe)) == recipe
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_hand_needs_to_write_only_what_it_wants(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"model": "MF", "layers": {"head": {"low_rank": 8}}}')
    assert read_recipe(tmp_path / "r.json").layers == {"head": LayerRecipe(low_rank=8)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"model": "MF"', "truncated"),
        ('{"model": "MF"}', "missing required field `layers`"),
        ('{"ok": {}, "a": {"quantization": "INT3"}}', r"'INT3' - at `\$\.layers\.a\.quantization`"),
        ('{"a": {"prune_ratio": 1.5}}', r"`float` <= 1.*`\$\.layers\.a\.prune_ratio`"),
        ('{"a.b": {"factor": {"rank": 0}}}', r">= 1.*`\$\.layers\.a\.b\.factor\.rank`"),
        ('{"re:(": null}', r"\$\.layers\.re:\("),
    ],
)
def test_nonsense_is_refused_with_the_path_of_the_field(
    tmp_path: Path, text: str, said: str
) -> None:
    if "model" not in text:
        text = f'{{"model": "MF", "layers": {text}}}'
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RecipeError, match=said) as caught:
        read_recipe(tmp_path / "r.json")
    assert "r.json" in str(caught.value)


def test_the_old_file_stays_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path / "r.json", Recipe(model="old", layers={}))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_recipe(path, Recipe(model="new", layers={}))
    assert read_recipe(path).model == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_parameter_goes_before_its_module_before_patterns_before_the_default() -> None:
    keys = ["_default", "re:tower.*", "re:.*bias", "tower.0", "tower.0.weight"]
    recipe = Recipe(model="T", layers=dict.fromkeys(keys, INT8))
    assert matching_key(recipe, "tower.0.weight") == "tower.0.weight"
    assert matching_key(recipe, "tower.0.bias") == "tower.0"
    assert matching_key(recipe, "tower.1.bias") == "re:tower.*"
    assert matching_key(recipe, "head.bias") == "re:.*bias"
    assert matching_key(recipe, "head.weight") == "_default"


def test_a_pattern_matches_whole_paths_of_parameter_or_module() -> None:
    recipe = Recipe(model="T", layers={"re:tower": INT8, r"re:\w+_emb": INT8})
    assert matching_key(recipe, "tower.weight") == "re:tower"
    assert matching_key(recipe, "tower.0.weight") is None
    assert matching_key(recipe, "item_emb.weight") == r"re:\w+_emb"


def test_null_leaves_a_layer_alone_though_there_is_a_default() -> None:
    recipe = Recipe(model="T", layers={"head": None, "_default": INT8})
    assert layer_recipe(recipe, "head.weight") is None
    assert layer_recipe(recipe, "item_emb.weight") == INT8
