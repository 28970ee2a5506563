"""From the weights of layers to layers."""

from __future__ import annotations

import torch


def to_layers(values: torch.Tensor, owner: torch.Tensor | None, layers: int) -> torch.Tensor:
    """`[S, P]` to `[S, L]`: sums over each layer's weights. None: every layer has one.

    What is not finite stays in its own layer.
    """
    if owner is None:
        return values
    sums = torch.zeros(len(values), layers, dtype=values.dtype, device=values.device)
    return sums.index_add_(1, owner, values)
