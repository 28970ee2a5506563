"""The packed rows of one table, which one layer or several look up, average and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from gradtracer.compression.look_up import packed_bags, packed_scores
from gradtracer.compression.row_format import (
    BITS,
    FLOATS,
    encode,
    pack_bits,
    refuse_non_finite,
    row_bytes,
    unpack_bits,
)
from gradtracer.exceptions import NotCompressible
from gradtracer_schemas import Fallback, Quantization


class TableLayout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is needed to make room for a packed table before its bytes are loaded."""

    rows: int
    """Rows that may be looked up."""
    width: int
    """Columns."""
    formats: list[Quantization]
    """Of each tier."""
    stored: list[int]
    """Rows stored in each tier; with `fallback` `mean` the last has one more, the mean."""
    mapped: bool = False
    """Whether rows stand elsewhere than their ids say: several tiers, or rows dropped."""
    fallback: Fallback = "zero"
    """What a dropped row is looked up as."""
    dtype: str = "float32"
    """Of the table before, and of what a look-up gives."""


class PackedTable(nn.Module):
    """Rows `[N, D]` as packed bytes, in one tier or several, some perhaps dropped.

    Its state is plain tensors: `rows_<tier>` as `row_format.encode` makes them, and for a table of
    several tiers or with dropped rows `tier_of_row`, 1, 2, 4 or 8 bits for each row. Of that each
    device keeps an int32 place for each row and tier beside it, which is not saved.

    Look-ups give the dtype that the table had, or that the model was moved to since; they have no
    gradient. `scores` passes gradients to what is scored.
    """

    rows_0: Tensor
    tier_of_row: Tensor | None
    _like: Tensor

    def __init__(self, layout: TableLayout, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.layout = layout
        for tier, (quantization, rows) in enumerate(
            zip(layout.formats, layout.stored, strict=True)
        ):
            self.register_buffer(f"rows_{tier}", _room(rows, quantization, layout, device))
        self._bits = [BITS.get(each, 0) for each in layout.formats]
        codes = -(-layout.rows * self._bits_of_code // 8)
        self.register_buffer(
            "tier_of_row",
            torch.zeros(codes, dtype=torch.uint8, device=device) if layout.mapped else None,
        )
        # of no size: it follows the model through `half()`, `double()` and `to()`
        self.register_buffer(
            "_like", torch.empty(0, dtype=_dtype(layout), device=device), persistent=False
        )
        for tier in range(len(layout.formats) if layout.mapped else 0):
            place = torch.zeros(layout.rows, dtype=torch.int32, device=device)
            self.register_buffer(f"_places_{tier}", place, persistent=False)

    @classmethod
    def from_weight(
        cls,
        weight: Tensor,
        quantization: Quantization = "INT8",
        *,
        tiers: Sequence[tuple[Quantization, Tensor]] = (),
        dropped: Tensor | None = None,
        fallback: Fallback = "zero",
    ) -> PackedTable:
        """Pack `weight` `[N, D]`, any float dtype and device.

        Args:
            weight: Is left as it is.
            quantization: Of the rows that are in no tier.
            tiers: Formats with masks `[N]` bool of their rows, no row in two.
            dropped: Mask `[N]` bool of rows that are not kept, in no tier.
            fallback: What a dropped row is looked up as: `zero`, or `mean` of the kept rows.

        Raises:
            NotCompressible: NaN or infinity in a row that is kept, or more than a format holds.
        """
        weight = weight.detach()
        rows, width = weight.shape
        rest = torch.ones(rows, dtype=torch.bool, device=weight.device)
        parts: list[tuple[Quantization, Tensor]] = [
            (name, mask.to(weight.device)) for name, mask in tiers
        ]
        gone = None if dropped is None else dropped.to(weight.device)
        for _, mask in parts:
            rest &= ~mask
        if gone is not None:
            rest &= ~gone
        if rest.any() or not parts:
            parts.append((quantization, rest))
        mapped = len(parts) > 1 or (gone is not None and bool(gone.any()))
        mean = fallback == "mean" and gone is not None and bool(gone.any())
        refuse_non_finite(weight, gone)
        stored = [
            encode(weight, name, mask.nonzero()[:, 0] if mapped else None) for name, mask in parts
        ]
        if mean:
            average = weight[~gone].mean(dim=0, keepdim=True)  # type: ignore[operator]
            stored[-1] = torch.cat([stored[-1], encode(average.nan_to_num(0), parts[-1][0])])
        table = cls(
            TableLayout(
                rows=rows,
                width=width,
                formats=[name for name, _ in parts],
                stored=[len(each) for each in stored],
                mapped=mapped,
                fallback="mean" if mean else "zero",
                dtype=str(weight.dtype).removeprefix("torch."),
            ),
            torch.device("meta"),
        )
        for tier, each in enumerate(stored):
            setattr(table, f"rows_{tier}", each)
        table._like = weight.new_empty(0)
        if mapped:
            code = torch.full((rows,), len(parts), dtype=torch.uint8, device=weight.device)
            for tier, (_, mask) in enumerate(parts):
                code[mask] = tier
            table.tier_of_row = pack_bits(code[None], table._bits_of_code)[0]
            table._find_places()
        return table

    def rows(self, ids: Tensor) -> Tensor:
        """Rows `[..., D]` of `ids` `[...]` int32 or int64.

        Raises:
            IndexError: an id is negative or not below N (on the CPU).
        """
        found = self.bags(ids.reshape(-1))
        return found.view(*ids.shape, self.layout.width)

    def bags(
        self, ids: Tensor, offsets: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """Sums `[bags, D]` of the rows of bags that begin at `offsets` in `ids` `[n]`."""
        found = packed_bags(
            self._stored(), self._places(), self._bits, self.layout.width, ids, offsets, weights
        )
        return found.to(self._like.dtype)

    def scores(self, x: Tensor) -> Tensor:
        """The product x Wᵀ `[..., N]` for `x` `[..., D]`, as `x @ layer.weight.T`.

        8,192 rows at a time are decoded: W is never held whole. Gradients reach `x`.
        """
        flat = x.reshape(-1, self.layout.width).float()
        found = packed_scores(
            self._stored(), self._places(), self._bits, self.layout.width, self.layout.rows, flat
        )
        return found.to(x.dtype).view(*x.shape[:-1], self.layout.rows)

    @property
    def weight(self) -> Tensor:
        """The table `[N, D]` as it is read back, decoded anew: N x D numbers each time."""
        return self.rows(torch.arange(self.layout.rows, device=self._like.device))

    def requires_grad_(self, requires_grad: bool = True) -> PackedTable:
        """Refuse to be trained: rounded rows have no gradient.

        Raises:
            NotCompressible: always, when asked for gradients.
        """
        if requires_grad:
            raise NotCompressible(f"expected to be read only, {_ADVICE}")
        return self

    def refuse_training(self, training: bool) -> None:
        """Raise `NotCompressible` where a layer in training mode would silently learn nothing."""
        if training and torch.is_grad_enabled():
            raise NotCompressible(f"expected model.eval() or torch.no_grad(), {_ADVICE}")

    def extra_repr(self) -> str:
        """Rows, columns, and what each tier holds."""
        tiers = ", ".join(
            f"{rows:,} {name}"
            for name, rows in zip(self.layout.formats, self.layout.stored, strict=True)
        )
        return f"{self.layout.rows:,} x {self.layout.width}: {tiers}"

    @property
    def _bits_of_code(self) -> int:
        layout = self.layout
        kept = sum(layout.stored) - (layout.fallback == "mean")
        highest = len(layout.formats) - (kept == layout.rows)
        return next(bits for bits in (1, 2, 4, 8) if highest < 2**bits)

    def _stored(self) -> list[Tensor]:
        return [self._buffers[f"rows_{tier}"] for tier in range(len(self._bits))]  # type: ignore[misc]

    def _places(self) -> list[Tensor]:
        tiers = range(len(self._bits) if self.layout.mapped else 0)
        return [self._buffers[f"_places_{tier}"] for tier in tiers]  # type: ignore[misc]

    def _find_places(self) -> None:
        """Work out where each row stands from the tier it is in: tiers keep the order of ids."""
        assert self.tier_of_row is not None
        code = unpack_bits(self.tier_of_row[None], self._bits_of_code, self.layout.rows)[0]
        last = len(self._bits) - 1
        for tier in range(last + 1):
            mine = code == tier
            place = torch.where(mine, mine.cumsum(0, dtype=torch.int32) - 1, -1)
            if tier == last and self.layout.fallback == "mean":
                place[code > last] = self.layout.stored[last] - 1
            setattr(self, f"_places_{tier}", place)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *rest: Any, **more: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)  # type: ignore[no-untyped-call]
        if self.tier_of_row is not None and f"{prefix}tier_of_row" in state_dict:
            self._find_places()


_ADVICE = (
    "as packed rows cannot learn: call .eval() on this layer to train the others around it, or "
    "train the original model and compress it again"
)


def _dtype(layout: TableLayout) -> torch.dtype:
    return getattr(torch, layout.dtype)


def _room(
    rows: int, quantization: Quantization, layout: TableLayout, device: torch.device | str | None
) -> Tensor:
    if quantization in BITS:
        size = row_bytes(quantization, layout.width)
        return torch.zeros(rows, size, dtype=torch.uint8, device=device)
    dtype = FLOATS.get(quantization, _dtype(layout))
    return torch.zeros(rows, layout.width, dtype=dtype, device=device)
