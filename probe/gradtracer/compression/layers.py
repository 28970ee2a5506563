"""The layers of a model that can be packed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Layer(NamedTuple):
    """A layer that can be packed."""

    name: str
    module: nn.Module
    weight: Tensor
    bias: int
    """Numbers in its bias."""
    aliases: tuple[str, ...]
    """Other layers that have the same weight."""
    reason: str
    """Why nothing can be done, or empty."""

    @property
    def bytes_before(self) -> int:
        """Bytes of weight and bias."""
        return (self.weight.numel() + self.bias) * self.weight.element_size()


def layers_of(model: nn.Module) -> list[Layer]:
    """Every embedding, bag and linear layer, those of a shared weight once."""
    found: dict[int, Layer] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag | nn.Linear):
            continue
        weight = module.weight
        held = found.get(id(weight))
        if held is not None:
            found[id(weight)] = held._replace(aliases=(*held.aliases, name))
            continue
        bias = getattr(module, "bias", None)
        reason = ""
        if not bool(torch.isfinite(weight).all()):
            reason = "Left as it is: it holds NaN or infinity."
        elif not weight.is_floating_point() or weight.numel() == 0:
            reason = "Left as it is: it holds no floats."
        numbers = 0 if bias is None else bias.numel()
        found[id(weight)] = Layer(name, module, weight.detach(), numbers, (), reason)
    return list(found.values())
