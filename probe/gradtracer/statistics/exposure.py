"""How often each row of a table was looked up."""

from __future__ import annotations

import torch

_INT32_MAX = 2**31 - 1


class Exposure:
    """Exact look-up counts, `[N]`, on the table's device.

    int32 (4 bytes a row) until the total number of look-ups could overflow a row, int64 from then.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.counts = torch.zeros(rows, dtype=torch.int32, device=device)
        self.total = 0
        self._ones = torch.ones(0, dtype=torch.int32, device=device)

    def add(self, ids: torch.Tensor) -> None:
        """Count one look-up for each entry of `ids`, `[B]` int64 on the table's device.

        Cost O(B), no host synchronisation. An empty batch counts nothing.
        """
        size = ids.numel()
        if size == 0:
            return
        self.total += size
        if self.total > _INT32_MAX and self.counts.dtype == torch.int32:
            self.counts = self.counts.long()
        if self._ones.numel() < size or self._ones.dtype != self.counts.dtype:
            self._ones = torch.ones(size, dtype=self.counts.dtype, device=self.counts.device)
        self.counts.scatter_add_(0, ids, self._ones[:size])
