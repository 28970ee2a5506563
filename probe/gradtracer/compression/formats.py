"""What a layer's recipe makes of its weight: bytes, packed rows, and the numbers read back."""

from __future__ import annotations

import torch
from torch import Tensor

from gradtracer.compression.packed_table import PackedTable
from gradtracer.compression.row_format import row_bytes
from gradtracer.compression.row_set import unpack_rows
from gradtracer.compression.structure import projection_format
from gradtracer.exceptions import NotCompressible, RecipeError
from gradtracer_schemas import LayerRecipe, Quantization, RowSet


def bytes_stored(entry: LayerRecipe, rows: int, columns: int, bias: int = 0) -> int:
    """Bytes of a weight `[rows, columns]` and of `bias` numbers beside it, as packed.

    Of a table with tiers or dropped rows with the map of where each row is: 1, 2, 4 or 8 bits a
    row. Without what a file adds for each tensor.
    """
    if entry.low_rank is not None:
        rank = entry.low_rank
        inner = rank * row_bytes(entry.quantization, columns)
        return inner + rows * row_bytes(entry.quantization, rank) + 4 * bias
    if entry.kept_units is not None:
        bias = entry.kept_units.count if bias else 0
        rows = entry.kept_units.count
    if entry.kept_inputs is not None:
        columns = entry.kept_inputs.count
    width, beside = columns, 4 * bias
    if entry.factor is not None:
        width = entry.factor.rank
        if not entry.factor.partners:
            beside += columns * row_bytes(projection_format(entry), width)
    gone = entry.dropped.count if entry.dropped is not None else 0
    rest = rows - gone - sum(tier.rows.count for tier in entry.tiers)
    total = rest * row_bytes(entry.quantization, width) + beside
    total += sum(tier.rows.count * row_bytes(tier.quantization, width) for tier in entry.tiers)
    if gone and entry.fallback == "mean":
        last = entry.quantization if rest or not entry.tiers else entry.tiers[-1].quantization
        total += row_bytes(last, width)
    places = len(entry.tiers) + (rest > 0 or not entry.tiers) + (gone > 0)
    if places > 1:
        bits = next(bits for bits in (1, 2, 4, 8) if places <= 2**bits)
        total += -(-rows * bits // 8)
    return total


def stores_otherwise(entry: LayerRecipe) -> bool:
    """Whether any row is stored in another form than it has."""
    return bool(entry.quantization != "FP32" or entry.tiers or entry.dropped)


def packed(weight: Tensor, entry: LayerRecipe, where: str) -> PackedTable:
    """`weight` `[N, D]` as packed rows; of the recipe only the storage counts.

    Raises:
        RecipeError: a row set is not of this table, or a row is in two.
        NotCompressible: NaN, or more than the format holds.
    """
    rows = weight.shape[0]
    taken = torch.zeros(rows, dtype=torch.bool, device="cpu")
    tiers: list[tuple[Quantization, Tensor]] = []
    for at, tier in enumerate(entry.tiers):
        mask = _mask(tier.rows, rows, f"{where}.tiers[{at}].rows", taken)
        tiers.append((tier.quantization, mask))
    dropped = (
        None if entry.dropped is None else _mask(entry.dropped, rows, f"{where}.dropped", taken)
    )
    try:
        return PackedTable.from_weight(
            weight, entry.quantization, tiers=tiers, dropped=dropped, fallback=entry.fallback
        )
    except NotCompressible as error:
        raise NotCompressible(f"{where}: {error}; or make the layer null") from None


def read_back(weight: Tensor, entry: LayerRecipe, where: str) -> Tensor:
    """What the rows of `weight` `[N, D]` are after storage, in its dtype and on its device.

    Raises:
        RecipeError, NotCompressible: as `packed`.
    """
    if not stores_otherwise(entry):
        return weight.detach().clone()
    return packed(weight, entry, where).weight


def _mask(rows: RowSet, of: int, where: str, taken: Tensor) -> Tensor:
    mask = torch.from_numpy(unpack_rows(rows, of, where))
    twice = (mask & taken).nonzero()[:, 0]
    if len(twice):
        raise RecipeError(
            f"{where}: expected rows that no tier before has, got row {int(twice[0])} again"
        )
    taken |= mask
    return mask
