"""What a model takes on disk by a recipe, and what recipes are compared with: uniform, pruned."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from gradtracer import compress, save_compressed
from gradtracer.compression.simulation import packable_weights
from gradtracer_schemas import LayerRecipe, Recipe


def saved_bytes(model: nn.Module, recipe: Recipe) -> int:
    """Size of the file that `save_compressed` writes, in safetensors' form."""
    with tempfile.TemporaryDirectory() as folder:
        return save_compressed(compress(model, recipe), Path(folder) / "model.safetensors")


def file_size(model: nn.Module) -> int:
    """Size of the file with the model as it is, in safetensors' form."""
    state = {name: each.detach().contiguous() for name, each in model.state_dict().items()}
    return len(safetensors.torch.save(state))


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
