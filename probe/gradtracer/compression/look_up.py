"""Sums of bags of packed rows, as operators that `torch.export` and `torch.compile` keep whole.

On the CPU PyTorch's quantised look-ups read the packed bytes as they are; elsewhere, and for
floats, rows are gathered and decoded by ordinary operations. A table has one or more tiers; a
tier's `places` `[N]` int32 say where in it each row of the table stands, -1: in another tier.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from gradtracer.compression.row_format import BITS, decode
from gradtracer_schemas import Quantization

_FLOAT = "FP32"
"""Stands for all floats: the stored dtype says which."""
_OF_BITS: dict[int, Quantization] = {bits: name for name, bits in BITS.items()}
SCORED_ROWS = 8192
"""Rows decoded at a time for scoring: 2 MB at 64 columns."""


def bag_sums(
    stored: list[Tensor],
    places: list[Tensor],
    bits: list[int],
    width: int,
    ids: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """Sums of the rows of each bag, `[bags, width]` float32.

    Args:
        stored: What `row_format.encode` made of each tier.
        places: For each tier `[N]` int32, or no tensor at all for a table of one tier whose rows
            stand where their ids say.
        bits: For each tier 8, 4 or 2, or 0 for floats.
        width: Columns of the table.
        ids: `[n]` int32 or int64.
        offsets: `[bags]` as `ids`: where each bag begins; None: each id is a bag.
        weights: `[n]` float32 factors of the rows; None: 1.

    Raises:
        IndexError: an id is negative or not below N (on the CPU).
    """
    total: Tensor | None = None
    for at, tier in enumerate(stored):
        place = places[at] if places else None
        if ids.is_cpu and bits[at]:
            part = _fast(tier, place, bits[at], width, ids, offsets, weights)
        else:
            part = _portable(tier, place, bits[at], width, ids, offsets, weights)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


_packed_bags = torch.library.custom_op("gradtracer::packed_bags", bag_sums, mutates_args=())


def packed_bags(
    stored: list[Tensor],
    places: list[Tensor],
    bits: list[int],
    width: int,
    ids: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """As `bag_sums`, by the operator where a program is recorded: it costs 15 us a call."""
    plain = type(ids) is Tensor and not torch.compiler.is_compiling()
    sums = bag_sums if plain else _packed_bags
    return sums(stored, places, bits, width, ids, offsets, weights)


@_packed_bags.register_fake
def _(
    stored: list[Tensor],
    places: list[Tensor],
    bits: list[int],
    width: int,
    ids: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    bags = ids.shape[0] if offsets is None else offsets.shape[0]
    return ids.new_empty((bags, width), dtype=torch.float32)


@torch.library.custom_op("gradtracer::packed_scores", mutates_args=())
def packed_scores(
    stored: list[Tensor], places: list[Tensor], bits: list[int], width: int, rows: int, x: Tensor
) -> Tensor:
    """The product x Wᵀ `[n, rows]` float32 for x `[n, width]` float32; W is never held whole."""
    scores = x.new_empty((x.shape[0], rows))
    for start in range(0, rows, SCORED_ROWS):
        ids = torch.arange(start, min(start + SCORED_ROWS, rows), device=x.device)
        W = bag_sums(stored, places, bits, width, ids, None, None)
        scores[:, start : start + len(ids)] = x @ W.T
    return scores


@packed_scores.register_fake
def _(
    stored: list[Tensor], places: list[Tensor], bits: list[int], width: int, rows: int, x: Tensor
) -> Tensor:
    return x.new_empty((x.shape[0], rows))


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    stored, places, ctx.bits, ctx.width, ctx.rows, _ = inputs
    ctx.tiers = len(stored)
    ctx.save_for_backward(*stored, *places)


def _scores_backward(ctx: Any, of_scores: Tensor) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    stored, places = list(saved[: ctx.tiers]), list(saved[ctx.tiers :])
    of_x = of_scores.new_zeros((of_scores.shape[0], ctx.width))
    for start in range(0, ctx.rows, SCORED_ROWS):
        ids = torch.arange(start, min(start + SCORED_ROWS, ctx.rows), device=of_x.device)
        W = packed_bags(stored, places, ctx.bits, ctx.width, ids, None, None)
        of_x += of_scores[:, start : start + len(ids)] @ W
    return [None] * ctx.tiers, [None] * len(places), None, None, None, of_x


packed_scores.register_autograd(_scores_backward, setup_context=_keep_for_backward)


def _fast(
    stored: Tensor,
    place: Tensor | None,
    bits: int,
    width: int,
    ids: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    quantized = cast(Any, torch.ops.quantized)
    sums = {
        8: quantized.embedding_bag_byte_rowwise_offsets,
        4: quantized.embedding_bag_4bit_rowwise_offsets,
        2: quantized.embedding_bag_2bit_rowwise_offsets,
    }[bits]
    if offsets is None:
        offsets = torch.arange(ids.shape[0], dtype=ids.dtype, device="cpu")
    try:
        found: Tensor = sums(stored, ids, offsets, False, 0, place is not None, weights, place)
    except RuntimeError:
        _refuse_ids(ids, len(stored if place is None else place))
        raise
    # a last byte that is not full was read as columns too
    return found if found.shape[1] == width else found[:, :width].contiguous()


def _portable(
    stored: Tensor,
    place: Tensor | None,
    bits: int,
    width: int,
    ids: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    if place is not None:
        if ids.is_cpu:
            _refuse_ids(ids, len(place))
        ids = place.index_select(0, ids).long()
        held = (ids >= 0).float()
        weights = held if weights is None else weights * held
        ids = ids.clamp(min=0)
    if place is not None and stored.shape[0] == 0:
        rows = stored.new_zeros((ids.shape[0], width), dtype=torch.float32)
    else:
        if ids.is_cpu:
            _refuse_ids(ids, len(stored))
        rows = decode(stored.index_select(0, ids), _OF_BITS.get(bits, _FLOAT), width)
    if offsets is None:
        return rows if weights is None else rows * weights[:, None]
    every = torch.arange(ids.shape[0], device=ids.device)
    return F.embedding_bag(every, rows, offsets.long(), mode="sum", per_sample_weights=weights)


def _refuse_ids(ids: Tensor, rows: int) -> None:
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= rows):
        raise IndexError(
            f"expected ids from 0 to {rows - 1}, got {int(ids.min())} to {int(ids.max())}"
        )
