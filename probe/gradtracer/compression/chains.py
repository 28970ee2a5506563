"""Which linear layers follow each other, so that units can be taken out of both: found by trying.

A unit of one layer that the next alone reads can go, and its column in the next with it. So half of
the units are silenced in the next layer, then taken out of both: where the two follow each other
and nothing else reads those units, that makes no difference. Through a normalisation or a softmax
over units, a shortcut or heads of attention the answers change or there are none at all. No trace
is needed: tracers ask for an example input, and for the calls of every layer to be in one graph.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gradtracer.compression.layers import Layer, layers_of
from gradtracer.compression.quality import Evaluate, same, values_of
from gradtracer.compression.row_set import pack_rows
from gradtracer.compression.structure import narrow
from gradtracer_schemas import LayerRecipe, Recipe

_MOST_PAIRS = 16
_FEWEST_UNITS = 4


def chains(model: nn.Module, evaluate: Evaluate, before: NDArray[np.float64]) -> list[list[str]]:
    """Paths of linear layers that feed each other and nothing else, each chain in its order.

    Layers are tried with those defined after them, near ones first.

    Args:
        model: Is left as it is.
        evaluate: As for the recipe; called up to twice for each pair of fitting widths.
        before: What it says of the model.
    """
    layers = [
        layer
        for layer in layers_of(model)
        if type(layer.module) is nn.Linear and not (layer.aliases or layer.reason)
    ]
    pairs = [
        (ahead, one, layers[at + ahead])
        for at, one in enumerate(layers)
        for ahead in range(1, len(layers) - at)
        if _FEWEST_UNITS <= one.weight.shape[0] == layers[at + ahead].weight.shape[1]
    ]
    following: dict[str, str] = {}
    for _, one, other in sorted(pairs, key=lambda pair: pair[0])[:_MOST_PAIRS]:
        if one.name in following or other.name in following.values():
            continue
        if _follows(model, evaluate, before, one, other):
            following[one.name] = other.name
    found: list[list[str]] = []
    for layer in layers:
        if layer.name in following and layer.name not in following.values():
            chain = [layer.name]
            while chain[-1] in following:
                chain.append(following[chain[-1]])
            found.append(chain)
    return found


def _follows(
    model: nn.Module,
    evaluate: Evaluate,
    before: NDArray[np.float64],
    one: Layer,
    other: Layer,
) -> bool:
    even = np.arange(one.weight.shape[0]) % 2 == 0
    for kept in (even, ~even):
        silenced = _silenced(model, other, ~kept)
        quiet = values_of(evaluate, silenced)
        if not same(before, quiet):
            break
    else:
        # the metric does not see these units: nothing can be learnt from it
        return False
    units = pack_rows(kept)
    layers: dict[str, LayerRecipe | None] = {
        one.name: LayerRecipe(kept_units=units),
        other.name: LayerRecipe(kept_inputs=units),
    }
    narrowed, _ = narrow(silenced, Recipe(model="", layers=layers))
    try:
        return same(quiet, values_of(evaluate, narrowed))
    except Exception:
        # whatever a model raises where a width is not the one it expects
        return False


def _silenced(model: nn.Module, layer: Layer, inputs: NDArray[np.bool_]) -> nn.Module:
    """A copy in which a layer does not hear some inputs; only the weight changed is copied."""
    held = {id(each): each for each in model.parameters() if each is not layer.module.weight}
    copied = copy.deepcopy(model, held)
    with torch.no_grad():
        copied.get_parameter(f"{layer.name}.weight")[:, torch.from_numpy(inputs)] = 0
    return copied
