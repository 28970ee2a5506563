"""`gradtracer.compress(model, recipe)`: a smaller model that answers as the recipe foretold."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import torch
from torch import Tensor, nn

from gradtracer.compression.formats import packed, stores_otherwise
from gradtracer.compression.packed_layers import PackedEmbedding, PackedEmbeddingBag, PackedLinear
from gradtracer.compression.packed_table import PackedTable
from gradtracer.compression.recipe_file import (
    DEFAULT,
    PATTERN,
    decode_recipe,
    matching_key,
    read_recipe,
)
from gradtracer.compression.structure import narrow
from gradtracer.exceptions import NotAModel, RecipeError
from gradtracer.roots import unwrapped
from gradtracer_schemas import LayerRecipe, Recipe

_PACKED = (nn.Embedding, nn.EmbeddingBag, nn.Linear)
_KINDS = "an nn.Embedding, nn.EmbeddingBag or nn.Linear with the forward pass of its class"


class _Holder(NamedTuple):
    """A layer that has a weight, under one of its names."""

    name: str
    module: nn.Module
    entry: LayerRecipe | None
    named: bool
    """Whether the recipe names it itself, and not by a pattern or the default."""


def compress(
    model: nn.Module,
    recipe: Recipe | dict[str, Any] | Path | str,
    *,
    inplace: bool = False,
) -> nn.Module:
    """Apply a recipe: change shapes, pack tables and linear layers, and leave all else as it is.

    Tables become `PackedEmbedding` and `PackedEmbeddingBag`, linear layers `PackedLinear`; a weight
    that several layers share is packed once and stays shared. The result is in evaluation mode.

    Args:
        model: A trained model. It stays as it is, unless `inplace`; what is not packed is copied.
        recipe: What `RecipeGenerator` made, a dict of the same fields, or the path of a
            `gradtracer_recipe.json`.
        inplace: Pack the layers of `model` itself, and return it: its memory falls then at once,
            if nothing else (an optimizer, its state) holds the weights. Not for recipes that change
            shapes; and the model returned is another where `model` is itself one layer.

    Raises:
        RecipeError: the recipe is none (with the path of the wrong field), names layers that the
            model lacks, or asks of a layer what its kind or shape does not allow.
        NotCompressible: a weight is NaN or infinite, or too large for its format.
        NotAModel: `model` is no `nn.Module`.
        OSError: the recipe's file cannot be read.
    """
    if not isinstance(model, nn.Module):
        raise NotAModel(f"expected a torch.nn.Module, got {type(model).__name__}")
    said = as_recipe(recipe)
    model = unwrapped(model)
    _refuse_another_model(model, said)
    _refuse_shares_alone(said)
    if any(entry is not None and _changes_shape(entry) for entry in said.layers.values()):
        if inplace:
            raise RecipeError(
                "layers: expected a recipe that only stores layers otherwise with inplace=True, "
                "got factor, low_rank, kept_units or kept_inputs; leave inplace out"
            )
        model, said = narrow(model, said)
        inplace = True
    groups = list(_groups(model, said))
    if not inplace:
        # what is packed is replaced anyway: its weight need not be copied for that
        weights = [group[0].module.weight for group in groups]
        model = copy.deepcopy(model, {id(weight): weight for weight in weights})
        groups = [
            [held._replace(module=model.get_submodule(held.name)) for held in group]
            for group in groups
        ]
    while groups:
        # the weights of a group are let go before the next is packed
        model = _packed(model, groups.pop())
    return model.eval()


def as_recipe(recipe: Recipe | dict[str, Any] | Path | str) -> Recipe:
    """A recipe from any of the forms in which it is passed.

    Raises:
        RecipeError: it is none; the message has the path of the wrong field.
        OSError: its file cannot be read.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Path | str):
        return read_recipe(recipe)
    try:
        content = msgspec.json.encode(recipe)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe: expected what JSON can hold, got {error}") from None
    return decode_recipe(content, "recipe")


def _refuse_another_model(model: nn.Module, recipe: Recipe) -> None:
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    known |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    asked = [key for key in recipe.layers if key != DEFAULT and not key.startswith(PATTERN)]
    missing = [key for key in asked if key not in known]
    if not missing:
        return
    have = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _PACKED) and name not in asked
    ]
    raise RecipeError(
        f"layers: expected layers of this {type(model).__name__}, got {_some(missing)}, which it "
        f"lacks: the recipe was made for {recipe.model or 'another model'}"
        + (f"; not in the recipe: {_some(have)}" if have else "")
    )


def _refuse_shares_alone(recipe: Recipe) -> None:
    for key, entry in recipe.layers.items():
        if entry and entry.prune_ratio > 0 and not (entry.dropped or entry.kept_units):
            raise RecipeError(
                f"layers.{key}.prune_ratio: expected `dropped` or `kept_units` beside it to say "
                f"what goes, got {entry.prune_ratio:g} alone; set it to 0, or make the recipe anew"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _groups(model: nn.Module, recipe: Recipe) -> Iterator[list[_Holder]]:
    """Layers to pack, those of one weight together."""
    by_weight: dict[int, list[_Holder]] = {}
    reached: set[str] = set()
    for path, parameter in model.named_parameters(remove_duplicate=False):
        name, _, attribute = path.rpartition(".")
        key = matching_key(recipe, path)
        named = key in (path, name)
        entry = None if key is None else recipe.layers[key]
        if attribute == "weight" and key is not None:
            reached.add(key)
        if attribute != "weight" and not (key == path and entry and stores_otherwise(entry)):
            # beside the weight a layer keeps its bias, which is left as it is
            continue
        holder = _Holder(name, model.get_submodule(name), entry, named)
        if attribute != "weight":
            raise _wrong_kind(path, holder, "a parameter of another name")
        by_weight.setdefault(id(parameter), []).append(holder)
    for name, module in model.named_modules():
        entry = recipe.layers.get(name)
        if not (entry and stores_otherwise(entry)) or reached & {name, f"{name}.weight"}:
            continue
        raise RecipeError(
            f"layers.{name}: expected a layer with a weight of its own, got "
            f"{type(module).__name__}; name the layers in it, or make it null"
        )
    for holders in by_weight.values():
        said = [held for held in holders if held.named] or holders
        asks = [held for held in said if held.entry and stores_otherwise(held.entry)]
        if not asks:
            continue
        for held in said:
            if _storage(held.entry) != _storage(asks[0].entry):
                raise RecipeError(
                    f"layers.{held.name}: expected the same as of {asks[0].name}, whose weight it "
                    f"shares, got another; leave it out"
                )
        wrong = [held for held in holders if not _fits(held.module)]
        if wrong and any(held.named for held in asks):
            raise _wrong_kind(wrong[0].name, wrong[0], type(wrong[0].module).__name__)
        if not wrong:
            yield [asks[0], *(held for held in holders if held is not asks[0])]


def _fits(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        # attention hands its weight to kernels, and does not call it
        return False
    # a subclass with a forward pass of its own may do anything with its weight
    return any(
        isinstance(module, kind) and type(module).forward is kind.forward for kind in _PACKED
    )


def _wrong_kind(path: str, held: _Holder, got: str) -> RecipeError:
    asked = held.entry.quantization if held.entry else "it"
    return RecipeError(
        f"layers.{path}: expected {_KINDS} to store as {asked}, got {got}; make it null"
    )


def _changes_shape(entry: LayerRecipe) -> bool:
    return bool(entry.factor or entry.low_rank or entry.kept_units or entry.kept_inputs)


def _storage(entry: LayerRecipe | None) -> object:
    return entry and (entry.quantization, entry.tiers, entry.dropped, entry.fallback)


def _packed(model: nn.Module, group: list[_Holder]) -> nn.Module:
    """The model with the layers of a group replaced, or what replaces it where it is one itself."""
    table = _table(group[0])
    for held in group:
        layer = _layer(held.module, table)
        if held.name == "":
            return layer
        owner, _, attribute = held.name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, layer)
    return model


def _layer(module: nn.Module, table: PackedTable) -> nn.Module:
    if isinstance(module, nn.Embedding):
        return PackedEmbedding(table, module.padding_idx)
    if isinstance(module, nn.EmbeddingBag):
        return PackedEmbeddingBag(
            table,
            module.mode,  # type: ignore[arg-type]
            padding_idx=module.padding_idx,
            include_last_offset=module.include_last_offset,
        )
    assert isinstance(module, nn.Linear)
    return PackedLinear(table, cast(nn.Parameter | None, module.bias))


def _table(held: _Holder) -> PackedTable:
    name, module, entry, _ = held
    assert entry is not None
    weight = module.weight
    assert isinstance(weight, Tensor)
    where = f"layers.{name}"
    if entry.shape and entry.shape != list(weight.shape):
        raise RecipeError(
            f"{where}.shape: expected {list(weight.shape)} as in this model, got {entry.shape}: "
            "the recipe was made for another"
        )
    max_norm = getattr(module, "max_norm", None)
    if max_norm is not None:
        # a look-up would have shortened each row that is longer
        weight = torch.renorm(weight.detach(), module.norm_type, 0, max_norm)  # type: ignore[arg-type]
    return packed(weight, entry, where)
