"""Units taken out of linear layers that feed each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradtracer.compression.layers import Layer
from gradtracer.compression.row_format import stored_as
from gradtracer.compression.row_set import pack_rows
from gradtracer.compression.sensitivity import Sensitivity
from gradtracer_schemas import LayerRecipe, Quantization

UNIT_SHARES = (0.875, 0.75, 0.5, 0.375, 0.25, 0.125)
"""Shares of the units that are tried."""


def unit_saliency(one: Layer, other: Layer, sensitivity: Sensitivity) -> NDArray[np.float64]:
    """How much is lost with each unit of `one`, which `other` alone reads, `[units]`.

    By the gradient where there is a loss closure (Molchanov et al., CVPR 2019, eq. 8). Else the
    Fisher information of what makes the unit times that of what reads it: with |w|^2 of its row and
    of its column, which do not depend on how the two share the unit's scale (ReLU).
    """
    gates = sensitivity.gates.get(other.name)
    if gates is not None and bool(gates.any()):
        return gates.double().cpu().numpy()
    made = one.weight.double().square().sum(dim=1)
    bias = getattr(one.module, "bias", None)
    if bias is not None:
        made = made + bias.detach().double().square()
    read = other.weight.double().square()
    for layer, dim in ((one, 0), (other, 1)):
        fisher = sensitivity.fisher.get(layer.name)
        if fisher is None or not fisher.any():
            # at an exact minimum of one batch there is no gradient to go by
            continue
        each = fisher.double().to(made.device)
        if dim == 0:
            made = made * each
        else:
            read = read * each[:, None]
    return (made * read.sum(dim=0)).cpu().numpy()


def kept_units(saliency: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Mask of the most salient units; an even number, as two 4-bit numbers share a byte."""
    count = max(2, 2 * round(share * len(saliency) / 2))
    kept = np.zeros(len(saliency), dtype=bool)
    kept[np.argsort(-saliency, kind="stable")[:count]] = True
    return kept


def taken_out(
    chain: Sequence[Layer], kept: Sequence[NDArray[np.bool_] | None], quantization: Quantization
) -> dict[str, tuple[LayerRecipe, Tensor]]:
    """For each layer of a chain its recipe and the change `[rows, columns]` that it stands for.

    A unit that is gone is a column of zeros in the layer that read it; of the row that made it,
    which nothing reads then, no change is told.

    Args:
        chain: In order.
        kept: Masks of the units of all but the last; None: all stay.
        quantization: Of what stays.
    """
    changes: dict[str, tuple[LayerRecipe, Tensor]] = {}
    for layer, made, read in zip(chain, [*kept, None], [None, *kept], strict=True):
        entry = LayerRecipe(
            quantization=quantization,
            kept_units=None if made is None else pack_rows(made),
            kept_inputs=None if read is None else pack_rows(read),
        )
        weight = layer.weight
        rows, columns = (
            torch.arange(size, device="cpu")
            if mask is None
            else torch.from_numpy(np.flatnonzero(mask))
            for mask, size in zip((made, read), weight.shape, strict=True)
        )
        rows, columns = rows.to(weight.device), columns.to(weight.device)
        after = weight.float().clone()
        after[rows] = 0.0
        after[rows[:, None], columns] = stored_as(weight[rows][:, columns], quantization)
        changes[layer.name] = (entry, after - weight.float())
    return changes
