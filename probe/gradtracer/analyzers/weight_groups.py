"""Groups of weights small enough to be copied over a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from gradtracer.analyzers.layer_modules import Layer

_COPY_AT_ONCE = 2**24
_COPY_SHARE = 8


class WeightGroup(NamedTuple):
    """Weights that are copied at the same step, those of a layer together."""

    weights: tuple[int, ...]
    """Their indices."""
    places: torch.Tensor
    """The same on the device."""


def weight_groups(layers: Sequence[Layer], device: torch.device) -> list[WeightGroup]:
    """Groups of at most 64 MiB in float32, or an eighth of all; a layer is never divided."""
    sizes = [[weight.numel() for weight in layer.weights] for layer in layers]
    limit = max(_COPY_AT_ONCE, sum(map(sum, sizes)) // _COPY_SHARE)
    parts: list[list[int]] = [[]]
    filled = weight = 0
    for layer in sizes:
        if parts[-1] and filled + sum(layer) > limit:
            parts.append([])
            filled = 0
        parts[-1] += range(weight, weight + len(layer))
        weight += len(layer)
        filled += sum(layer)
    return [
        WeightGroup(tuple(part), torch.tensor(part, device="cpu").to(device, non_blocking=True))
        for part in parts
    ]
