"""Which modules of a model are observed as layers, and by which of their parameters."""

from __future__ import annotations

import weakref
from collections.abc import Container
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_TABLES = (nn.Embedding, nn.EmbeddingBag)


class Layer(NamedTuple):
    """A module with weights of its own."""

    path: str
    """Dotted path in the model; empty for the model itself."""
    reference: weakref.ref[nn.Module]
    """Weak, so that a model that is observed can still be thrown away."""
    kind: str
    """Class name."""
    names: tuple[str, ...]
    """Names of its weights, e.g. `weight`, or `weight_ih_l0` and `weight_hh_l0`."""

    normalises: bool
    """A normalisation layer: a scale for each channel, not a map between them."""
    has_units: bool
    """The first dimension of its one weight counts output units."""

    @property
    def name(self) -> str:
        """The path in the user's own model: what `torch.compile` puts around it is left out."""
        return ".".join(part for part in self.path.split(".") if part != "_orig_mod")

    @property
    def weights(self) -> list[torch.Tensor]:
        """The weights as they are now; empty when the module or a weight is gone."""
        module = self.reference()
        found = [getattr(module, name, None) for name in self.names]
        return [w for w in found if w is not None] if all(w is not None for w in found) else []

    @property
    def bias(self) -> torch.Tensor | None:
        """The trainable bias with one value for each output unit, where there is one."""
        bias = getattr(self.reference(), "bias", None)
        if not (self.has_units and isinstance(bias, torch.Tensor) and bias.requires_grad):
            return None
        return bias if bias.shape == self.weights[0].shape[:1] else None


def layers_of(model: nn.Module, without: Container[nn.Module] = ()) -> list[Layer]:
    """Every module with a trainable dense weight that no other module before it has.

    Embedding tables are left out, and so is a layer whose weight is a table's (tied output), and
    modules in `without`. Biases are not observed: what befalls them befalls the weight.
    """
    taken = {id(module.weight) for module in model.modules() if isinstance(module, _TABLES)}
    found: list[Layer] = []
    for path, module in model.named_modules():
        if isinstance(module, _TABLES) or module in without:
            continue
        names: list[str] = []
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in taken and _is_weight(name, parameter, module):
                taken.add(id(parameter))
                names.append(name)
        if names:
            normalises = isinstance(module, _NORMS)
            mixes = normalises or isinstance(module, (_ConvTransposeNd, nn.Bilinear))
            found.append(
                Layer(
                    path=path,
                    reference=weakref.ref(module),
                    kind=type(module).__name__,
                    names=tuple(names),
                    normalises=normalises,
                    has_units=len(names) == 1 and not mixes,
                )
            )
    return found


def _is_weight(name: str, parameter: torch.Tensor, module: nn.Module) -> bool:
    if not (parameter.requires_grad and parameter.is_floating_point() and parameter.numel()):
        return False
    if parameter.is_meta:
        return False
    # DTensor and other wrappers have gradients that are not whole here.
    if type(parameter) not in (nn.Parameter, torch.Tensor):
        return False
    return parameter.dim() >= 2 or (name == "weight" and isinstance(module, _NORMS))
