"""What a model takes on disk by a recipe, and what recipes are compared with: uniform, pruned."""

from __future__ import annotations

import copy
import io

import numpy as np
import torch
from torch import Tensor, nn

from gradtracer.compression.recipe_file import layer_recipe
from gradtracer.compression.row_format import encode
from gradtracer.compression.row_set import unpack_rows
from gradtracer.compression.simulation import packable_weights
from gradtracer.compression.structure import narrow
from gradtracer_schemas import LayerRecipe, Recipe


def saved_bytes(model: nn.Module, recipe: Recipe) -> int:
    """Size of the file with the packed rows and all that is not packed."""
    narrowed, storage = narrow(model, recipe)
    state: dict[str, Tensor] = dict(narrowed.state_dict())
    for name, weight in packable_weights(narrowed):
        entry = layer_recipe(storage, f"{name}.weight")
        if entry is None:
            continue
        del state[f"{name}.weight"]
        rest = np.ones(len(weight), dtype=bool)
        code = np.zeros(len(weight), dtype=np.uint8)
        parts = [(tier.quantization, unpack_rows(tier.rows, len(rest))) for tier in entry.tiers]
        if entry.dropped is not None:
            gone = unpack_rows(entry.dropped, len(rest))
            rest &= ~gone
            code[gone] = len(parts) + 1
        for at, (quantization, rows) in enumerate(parts):
            rest &= ~rows
            code[rows] = at + 1
            ids = torch.from_numpy(np.flatnonzero(rows))
            state[f"{name}.{at}"] = encode(weight, quantization, ids)
        ids = torch.from_numpy(np.flatnonzero(rest))
        state[f"{name}.rest"] = encode(weight, entry.quantization, ids)
        if code.any():
            state[f"{name}.places"] = torch.from_numpy(np.packbits(code[:, None] >> [0, 1] & 1))
    return file_size(state)


def file_size(state: dict[str, Tensor]) -> int:
    """Bytes that `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save({name: each.detach().contiguous().clone() for name, each in state.items()}, buffer)
    return buffer.tell()


def uniform(model: nn.Module, quantization: str) -> Recipe:
    """Every table and linear layer alike."""
    entry = LayerRecipe(quantization=quantization)  # type: ignore[arg-type]
    return Recipe(model=type(model).__name__, layers={"_default": entry})


@torch.no_grad()
def min_max(model: nn.Module, bits: int = 4) -> nn.Module:
    """Every row rounded to equal steps from its least to its greatest number."""
    model = copy.deepcopy(model)
    for _, weight in packable_weights(model):
        low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
        step = ((high - low) / (2**bits - 1)).clamp_min(1e-12)
        weight.copy_(((weight - low) / step).round() * step + low)
    return model


@torch.no_grad()
def pruned(model: nn.Module, most_bytes: int) -> nn.Module:
    """The smallest weights of all set to zero, so that 16 bits for each other and a bitmap fit."""
    model = copy.deepcopy(model)
    weights = [weight for _, weight in packable_weights(model)]
    other = sum(p.numel() for p in model.parameters()) - sum(w.numel() for w in weights)
    total = sum(weight.numel() for weight in weights)
    kept = max(1, int((most_bytes - 4 * other - total / 8) / 2))
    magnitudes = torch.cat([weight.abs().reshape(-1) for weight in weights])
    threshold = magnitudes.kthvalue(max(1, total - kept + 1)).values
    for weight in weights:
        weight.copy_(torch.where(weight.abs() >= threshold, weight.half().float(), 0.0))
    return model
