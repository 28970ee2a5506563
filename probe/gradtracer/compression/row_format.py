"""How the rows of a table are stored: each row with a scale and an offset of its own.

An integer row is D codes, then its scale and offset (float32 behind 8-bit codes, float16 behind
4-bit and 2-bit ones; the first code of a byte in its lowest bits): the bytes that PyTorch's own
quantised look-ups read. Plain uint8 tensors, so any way of saving tensors saves them.

The range of a 4-bit or 2-bit row is not its minimum and maximum. Codes and range are improved in
turn, the range by least squares for the codes, the codes by rounding within the range (Lloyd 1982,
"Least squares quantization in PCM", restricted to equidistant levels), from several starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradtracer.exceptions import NotCompressible
from gradtracer_schemas import Quantization

BITS: dict[Quantization, int] = {"INT8": 8, "INT4": 4, "INT2": 2}
FLOATS: dict[Quantization, torch.dtype] = {"FP16": torch.float16, "BF16": torch.bfloat16}
_BLOCK = 8192
"""Rows worked on at a time: what bounds the memory beyond the result."""
_STARTS = (1.0, 0.9, 0.8, 0.7)
"""Shares of the full range that the search begins from."""
_ROUNDS = 4
"""Improvements from each start; four more lower the squared error by under 2 %."""


def row_bytes(quantization: Quantization, width: int) -> int:
    """Bytes of a stored row of `width` numbers; a last byte that is not full counts."""
    bits = BITS.get(quantization)
    if bits is None:
        return width * (2 if quantization in FLOATS else 4)
    return -(-width * bits // 8) + (8 if bits == 8 else 4)


def encode(weight: Tensor, quantization: Quantization, ids: Tensor | None = None) -> Tensor:
    """Store rows of `weight` `[N, D]`, any float dtype and device.

    Args:
        weight: Is left as it is.
        quantization: The format.
        ids: Which rows `[n]` int64, in this order; None: all.

    Returns:
        `[n, row_bytes]` uint8 for integers, `[n, D]` of the float dtype otherwise (FP32: as it
        is), on the weight's device.

    Raises:
        NotCompressible: a weight is NaN or infinite, or beyond what the format can hold.
    """
    weight = weight.detach()
    count = weight.shape[0] if ids is None else len(ids)
    bits = BITS.get(quantization)
    columns = weight.shape[1] if bits is None else row_bytes(quantization, weight.shape[1])
    dtype = FLOATS.get(quantization, weight.dtype) if bits is None else torch.uint8
    stored = weight.new_empty((count, columns), dtype=dtype)
    for start in range(0, count, _BLOCK):
        at = slice(start, start + _BLOCK)
        rows = weight[at if ids is None else ids[at]]
        refuse_non_finite(rows)
        if bits is None:
            stored[at] = rows
            if not stored[at].isfinite().all():
                raise _too_large(rows, quantization, "BF16")
            continue
        rows = rows.float()
        if bits != 8 and rows.abs().max() > torch.finfo(_side(bits)).max:
            raise _too_large(rows, quantization, "INT8")
        scale, offset = _full_range(rows, bits) if bits == 8 else _fitted_range(rows, bits)
        codes = pack_bits(_codes(rows, scale, offset, bits).to(torch.uint8), bits)
        sides = [part.to(_side(bits)).view(torch.uint8) for part in (scale, offset)]
        stored[at] = torch.cat([codes, *sides], dim=1)
    return stored


def decode(stored: Tensor, quantization: Quantization, width: int) -> Tensor:
    """Rows `[N, D]` float32 of what `encode` stored, on its device, by ordinary operations."""
    bits = BITS.get(quantization)
    if bits is None:
        return stored.float()
    side = 2 * _side(bits).itemsize
    # a slice does not start where a wider number may: `contiguous` would not always copy
    ends = stored[:, -side:].clone(memory_format=torch.contiguous_format)
    scale, offset = ends.view(_side(bits)).float().unbind(1)
    codes = unpack_bits(stored[:, :-side], bits, width)
    return codes.float() * scale[:, None] + offset[:, None]


def stored_as(weight: Tensor, quantization: Quantization) -> Tensor:
    """What `weight` `[N, D]` is read back as: float32, for judging a format without packing."""
    return decode(encode(weight, quantization), quantization, weight.shape[1])


def refuse_non_finite(weight: Tensor, but_for: Tensor | None = None) -> None:
    """Raise `NotCompressible` where a row of `weight` `[N, D]`, not in the mask, is not finite."""
    finite = weight.isfinite().all(dim=1)
    if but_for is not None:
        finite |= but_for
    if not finite.all():
        bad = (~finite).nonzero()[:, 0]
        raise NotCompressible(
            f"expected finite weights, got NaN or infinity in {len(bad)} of {len(weight)} rows "
            f"(first: {', '.join(map(str, bad[:3].tolist()))})"
        )


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Codes `[n, m]` uint8 below 2^bits, `8 // bits` to a byte, the first in the lowest bits."""
    each = 8 // bits
    if each == 1:
        return codes
    groups = torch.nn.functional.pad(codes, (0, -codes.shape[1] % each))
    groups = groups.view(codes.shape[0], -1, each)
    packed = groups[:, :, 0].clone()
    for at in range(1, each):
        packed |= groups[:, :, at] << (at * bits)
    return packed


def unpack_bits(packed: Tensor, bits: int, width: int) -> Tensor:
    """The first `width` codes `[n, width]` uint8 of each row that `pack_bits` made."""
    if bits == 8:
        return packed
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    return ((packed[:, :, None] >> shifts) & (2**bits - 1)).flatten(1)[:, :width]


def _too_large(rows: Tensor, quantization: Quantization, better: Quantization) -> NotCompressible:
    return NotCompressible(
        f"expected weights up to 65504, which {quantization} can hold, got "
        f"{float(rows.abs().max()):g}; store it as {better}"
    )


def _side(bits: int) -> torch.dtype:
    return torch.float32 if bits == 8 else torch.float16


def _full_range(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    return _storable((high - low) / (2**bits - 1), low, bits)


def _fitted_range(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and offset `[n, 1]` of least squared error over the starts and rounds."""
    low, high = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    middle, span = (low + high) / 2, high - low
    mean = rows.mean(dim=1, keepdim=True)
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for share in _STARTS:
        scale, offset = span * share / (2**bits - 1), middle - span * share / 2
        for again in range(_ROUNDS + 1):
            scale, offset = _storable(scale, offset, bits)
            codes = _codes(rows, scale, offset, bits)
            error = (codes * scale + offset - rows).square_().sum(dim=1, keepdim=True)
            if best is None:
                best = error, scale, offset
            else:
                better = error < best[0]
                best = (
                    torch.where(better, error, best[0]),
                    torch.where(better, scale, best[1]),
                    torch.where(better, offset, best[2]),
                )
            if again == _ROUNDS:
                break
            level = codes.mean(dim=1, keepdim=True)
            around = codes.sub_(level)
            spread = around.square().sum(dim=1, keepdim=True)
            fitted = around.mul_(rows).sum(dim=1, keepdim=True) / spread
            scale = torch.where(spread > 0, fitted, scale)
            offset = mean - scale * level
    assert best is not None
    return best[1], best[2]


def _storable(scale: Tensor, offset: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Both rounded to what will be stored, so that the codes are chosen for that."""
    dtype = _side(bits)
    return scale.to(dtype).float(), offset.to(dtype).float()


def _codes(rows: Tensor, scale: Tensor, offset: Tensor, bits: int) -> Tensor:
    # a row of equal weights has no scale: its codes are 0
    codes = (rows - offset).div_(torch.where(scale == 0, torch.inf, scale))
    return codes.round_().clamp_(0, 2**bits - 1)
