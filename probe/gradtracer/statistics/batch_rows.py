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


class RowIndex:
    """Scratch of one int32 per row that names a representative occurrence of each row.

    Which occurrence wins among duplicates is left to the device; every result that is written
    back is equal at all of them, so it does not matter.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._slot = torch.zeros(rows, dtype=torch.int32, device=device)

    def group(self, ids: torch.Tensor) -> BatchRows:
        """Group `ids`, `[B]` int64, by row: O(B)."""
        size = ids.numel()
        place = torch.arange(size, dtype=torch.int32, device=ids.device)
        self._slot.scatter_(0, ids, place)
        first = self._slot.index_select(0, ids).long()
        ones = torch.ones(size, device=ids.device)
        count = torch.zeros(size, device=ids.device).index_add_(0, first, ones)
        return BatchRows(ids, first, count.index_select(0, first), first == place)

    def find(self, rows: torch.Tensor, batch: BatchRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Occurrence that stands for each of `rows` `[R]`, and whether the row is in the batch.

        `batch` must be the latest result of `group`.
        """
        place = self._slot.index_select(0, rows).long().clamp_(max=batch.ids.numel() - 1)
        return place, batch.ids.index_select(0, place) == rows

    def totals(self, grad: torch.Tensor, batch: BatchRows) -> torch.Tensor:
        """Gradient of each occurrence's row, `[B, D]` float32, summed over the whole batch.

        `grad` is the table's gradient, dense `[N, D]` or sparse COO, coalesced or not.
        """
        if not grad.is_sparse:
            return grad.index_select(0, batch.ids).float()
        rows, values = grad._indices()[0], grad._values().float()
        place, present = self.find(rows, batch)
        values = torch.where(present.unsqueeze(1), values, 0.0)
        summed = torch.zeros(batch.ids.numel(), grad.shape[1], device=grad.device)
        return summed.index_add_(0, place, values).index_select(0, batch.first)
