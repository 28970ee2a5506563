"""What a layer's recipe makes of its weight: bytes, and the numbers that are read back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gradtracer.compression.row_format import row_bytes, stored_as
from gradtracer.compression.row_set import unpack_rows
from gradtracer.compression.structure import projection_format
from gradtracer_schemas import LayerRecipe


def bytes_stored(entry: LayerRecipe, rows: int, columns: int, bias: int = 0) -> int:
    """Bytes of a weight `[rows, columns]` and of `bias` numbers beside it, as packed.

    Of a table with tiers or dropped rows with the map of where each row is: 1, 2, 4 or 8 bits a
    row. Without what a file adds for each tensor.
    """
    if entry.low_rank is not None:
        rank = entry.low_rank
        inner = rank * row_bytes(entry.quantization, columns)
        return inner + rows * row_bytes(entry.quantization, rank) + 4 * bias
    width, beside = columns, 4 * bias
    if entry.factor is not None:
        width = entry.factor.rank
        if not entry.factor.partners:
            beside += columns * row_bytes(projection_format(entry), width)
    gone = entry.dropped.count if entry.dropped is not None else 0
    rest = rows - gone - sum(tier.rows.count for tier in entry.tiers)
    total = rest * row_bytes(entry.quantization, width) + beside
    total += sum(tier.rows.count * row_bytes(tier.quantization, width) for tier in entry.tiers)
    places = len(entry.tiers) + (rest > 0) + (gone > 0)
    if places > 1:
        bits = next(bits for bits in (1, 2, 4, 8) if places <= 2**bits)
        total += -(-rows * bits // 8)
    return total


def read_back(weight: Tensor, entry: LayerRecipe, where: str) -> Tensor:
    """What the rows of `weight` `[N, D]` are after storage, in its dtype and on its device.

    Of the recipe only the storage counts: shapes are `structure.narrow`'s.

    Raises:
        RecipeError: a row set is not of this table.
        NotCompressible: NaN, or more than the format holds.
    """
    rows = len(weight)
    rest = np.ones(rows, dtype=bool)
    result = weight.detach().clone()
    for at, tier in enumerate(entry.tiers):
        mine = unpack_rows(tier.rows, rows, f"{where}.tiers[{at}].rows")
        rest &= ~mine
        ids = torch.from_numpy(np.flatnonzero(mine)).to(weight.device)
        result[ids] = stored_as(weight[ids], tier.quantization).to(weight.dtype)
    gone = None
    if entry.dropped is not None:
        gone = unpack_rows(entry.dropped, rows, f"{where}.dropped")
        rest &= ~gone
    if entry.quantization != "FP32" and rest.all():
        result = stored_as(weight, entry.quantization).to(weight.dtype)
    elif entry.quantization != "FP32":
        ids = torch.from_numpy(np.flatnonzero(rest)).to(weight.device)
        result[ids] = stored_as(weight[ids], entry.quantization).to(weight.dtype)
    if gone is not None:
        mask = torch.from_numpy(gone).to(weight.device)
        kept = weight.detach()[~mask]
        mean = entry.fallback == "mean" and len(kept) > 0
        result[mask] = kept.mean(dim=0) if mean else 0.0
    return result
