"""Which tables a model knows only by their dot products: found by trying.

Where U and V are used in U Vᵀ alone, U becomes U A and V becomes V A⁻ᵀ for any invertible A without
a change of what the model says; where a table goes through anything else as well, it changes. No
trace of the model is needed, and compiled or scripted models are as good as others.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradtracer.compression.layers import layers_of
from gradtracer.compression.quality import Evaluate, same, values_of

_MOST_PAIRS = 28


def dot_products(
    model: nn.Module, evaluate: Evaluate, before: NDArray[np.float64]
) -> list[tuple[str, str]]:
    """Pairs of tables that meet in dot products and nowhere else, by their paths.

    Args:
        model: Is left as it is.
        evaluate: As for the recipe; called twice for each pair of tables of one width.
        before: What it says of the model.
    """
    tables = [
        layer
        for layer in layers_of(model)
        if isinstance(layer.module, nn.Embedding | nn.EmbeddingBag)
        and not (layer.aliases or layer.reason)
        and layer.module.max_norm is None
    ]
    pairs = [
        (one.name, other.name)
        for one, other in itertools.combinations(tables, 2)
        if one.weight.shape[1] == other.weight.shape[1]
    ]
    found: list[tuple[str, str]] = []
    taken: set[str] = set()
    for one, other in pairs[:_MOST_PAIRS]:
        if taken & {one, other}:
            continue
        width = model.get_parameter(f"{one}.weight").shape[1]
        A = _stretch(width)
        inverse = torch.linalg.inv(A).T
        if _same(model, evaluate, before, {one: A, other: inverse}) and not _same(
            model, evaluate, before, {one: A}
        ):
            found.append((one, other))
            taken |= {one, other}
    return found


def _same(
    model: nn.Module, evaluate: Evaluate, before: NDArray[np.float64], maps: dict[str, Tensor]
) -> bool:
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for name, A in maps.items():
            weight = changed.get_parameter(f"{name}.weight")
            weight.copy_((weight.double() @ A.to(weight.device)).to(weight.dtype))
    return same(before, values_of(evaluate, changed))


def _stretch(width: int) -> Tensor:
    """An invertible matrix that is no rotation: lengths must not survive it."""
    g = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(
        torch.randn(width, width, generator=g, dtype=torch.float64, device="cpu")
    )
    return turn * torch.linspace(0.5, 2.0, width, dtype=torch.float64, device="cpu")
