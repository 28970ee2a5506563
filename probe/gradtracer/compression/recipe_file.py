"""A recipe on disk, and which of its entries a layer takes."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import msgspec

from gradtracer.exceptions import RecipeError
from gradtracer_schemas import LayerRecipe, Recipe

RECIPE_NAME = "gradtracer_recipe.json"
PATTERN = "re:"
"""Begins a key of `layers` that is a regular expression."""
DEFAULT = "_default"
"""Key of `layers` for every layer that no other names."""


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a file.

    Raises:
        RecipeError: it is no recipe; the message has the path of the wrong field.
        OSError: it cannot be read.
    """
    return decode_recipe(Path(path).read_bytes(), str(path))


def decode_recipe(content: bytes, source: str) -> Recipe:
    """Read a recipe from JSON; `source` is what an error names beside the path of the field.

    Raises:
        RecipeError: it is no recipe; the message has the path of the wrong field.
    """
    try:
        recipe = msgspec.json.decode(content, type=Recipe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{source}: {_with_layer(content, str(error))}") from None
    for key in recipe.layers:
        if key.startswith(PATTERN):
            try:
                re.compile(key.removeprefix(PATTERN))
            except re.error as error:
                raise RecipeError(
                    f"{source}: no regular expression at `$.layers.{key}`: {error}"
                ) from None
    return recipe


class _Layers(msgspec.Struct):
    layers: dict[str, msgspec.Raw]


def _with_layer(content: bytes, message: str) -> str:
    """Put the layer's name into the path, where msgspec writes `[...]` for any key."""
    any_layer = "$.layers[...]"
    if any_layer not in message:
        return message
    for name, layer in msgspec.json.decode(content, type=_Layers).layers.items():
        try:
            msgspec.json.decode(layer, type=LayerRecipe | None)
        except msgspec.ValidationError:
            return message.replace(any_layer, f"$.layers.{name}")
    return message


def write_recipe(path: Path | str, recipe: Recipe) -> Path:
    """Write a recipe so that at any moment either the old file or the new one is there whole.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    path = Path(path)
    content = msgspec.json.format(msgspec.json.encode(recipe), indent=2)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return path


def matching_key(recipe: Recipe, parameter: str) -> str | None:
    """Key of `recipe.layers` that a parameter falls under, or None.

    The parameter's own path goes before its module's, both before patterns (in their order, matched
    against either path as a whole), and those before `_default`: the order of torchao's
    `FqnToConfig`.
    """
    module = parameter.rpartition(".")[0]
    for exact in (parameter, module):
        if exact in recipe.layers:
            return exact
    for key in recipe.layers:
        if key.startswith(PATTERN):
            pattern = re.compile(key.removeprefix(PATTERN))
            if pattern.fullmatch(parameter) or pattern.fullmatch(module):
                return key
    return DEFAULT if DEFAULT in recipe.layers else None


def layer_recipe(recipe: Recipe, parameter: str) -> LayerRecipe | None:
    """What the recipe says of a parameter, e.g. `item_emb.weight`; None: leave it as it is."""
    key = matching_key(recipe, parameter)
    return None if key is None else recipe.layers[key]
