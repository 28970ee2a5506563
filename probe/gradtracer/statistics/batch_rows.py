"""The distinct rows of a batch, found without sorting and without a host synchronisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Occurrences of a batch grouped by row; B is the number of occurrences."""

    ids: torch.Tensor
    """`[B]` int64: the row of each occurrence."""
    first: torch.Tensor
    """`[B]` int64: for each occurrence, the one that stands for its row."""
    count: torch.Tensor
    """`[B]` float32: occurrences of the row in the batch, at every occurrence."""
    is_first: torch.Tensor
    """`[B]` bool: true at exactly one occurrence of each row."""
    repeats: torch.Tensor | None
    """`[R]` int64: the occurrences that are not first; None where asking would make it wait."""


class RowIndex:
    """Scratch of one int32 per row that names a representative occurrence of each row.

    Which occurrence wins among duplicates is left to the device; every result that is written
    back is equal at all of them, so it does not matter.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._slot = torch.zeros(rows, dtype=torch.int32, device=device)
        self._places = torch.zeros(0, dtype=torch.int32, device=device)
        self._ones = torch.ones(0, device=device)
        self._may_ask = device.type == "cpu"

    def group(self, ids: torch.Tensor) -> BatchRows:
        """Group `ids`, `[B]` int64, by row: O(B)."""
        size = ids.numel()
        if self._places.numel() < size:
            self._places = torch.arange(size, dtype=torch.int32, device=ids.device)
            self._ones = torch.ones(size, device=ids.device)
        place, ones = self._places[:size], self._ones[:size]
        self._slot.scatter_(0, ids, place)
        first = self._slot.gather(0, ids)
        is_first, first = first == place, first.long()
        repeats = None
        if self._may_ask:
            repeats = (~is_first).nonzero().squeeze(1)
            if repeats.numel() == 0:
                return BatchRows(ids, first, ones, is_first, repeats)
        count = torch.zeros(size, device=ids.device).scatter_add_(0, first, ones)
        return BatchRows(ids, first, count.gather(0, first), is_first, repeats)

    def find(self, rows: torch.Tensor, batch: BatchRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Occurrence that stands for each of `rows` `[R]`, and whether the row is in the batch.

        `batch` must be the latest result of `group`, and not empty.
        """
        place = self._slot.gather(0, rows).long().clamp_(max=batch.ids.numel() - 1)
        return place, batch.ids.gather(0, place) == rows

    def totals(
        self, grad: torch.Tensor, batch: BatchRows, basis: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Gradient of each occurrence's row, `[B, D]` float32, summed over the whole batch.

        Args:
            grad: the table's gradient, dense `[N, D]` or sparse COO, coalesced or not.
            batch: the latest result of `group`, not empty.
            basis: `[D, K]` float32; if given, the totals are of `grad @ basis`, `[B, K]`.
        """
        if not grad.is_sparse:
            return _project(grad.index_select(0, batch.ids), basis)
        rows, values = grad._indices()[0], _project(grad._values(), basis)
        first, repeats = batch.first, batch.repeats
        if repeats is not None and torch.equal(rows, batch.ids):
            # What one forward and one backward pass leave: only repeated rows need a sum.
            if repeats.numel():
                values = values.clone() if basis is None else values
                stands = first.gather(0, repeats)
                values.index_add_(0, stands, values.index_select(0, repeats))
                values.index_copy_(0, repeats, values.index_select(0, stands))
            return values
        place, present = self.find(rows, batch)
        size = batch.ids.numel()
        # Rows without a look-up in this batch go to one place more, which nobody reads.
        summed = torch.zeros(size + 1, values.shape[1], device=grad.device)
        summed.index_add_(0, torch.where(present, place, size), values)
        return summed.index_select(0, first)


def _project(values: torch.Tensor, basis: torch.Tensor | None) -> torch.Tensor:
    values = values.float()
    return values if basis is None else values @ basis
