"""Loss of the examples that touch each row, where the training tells it for each example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class ExampleLoss:
    """Sums and numbers of losses for each row of a table, `[N]` each, 8 bytes a row on its device.

    Made with the first loss that is given per example.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._sums = torch.zeros(rows, device=device, dtype=torch.float32)
        self._counts = torch.zeros(rows, device=device, dtype=torch.float32)

    def add(self, losses: torch.Tensor, batch: Sequence[torch.Tensor]) -> bool:
        """Book `losses` `[B]` to the rows that `batch` looked up; whether any fits.

        Look-ups of B ids, or of B times any number side by side, belong to the examples in order.
        Losses that are not finite are left out. O(batch), without waiting for the device.
        """
        losses = losses.detach().reshape(-1).float().to(self._sums.device)
        fine = torch.isfinite(losses)
        kept, ones = torch.where(fine, losses, 0.0), fine.float()
        fits = False
        for ids in batch:
            if ids.dim() and ids.shape[0] == losses.numel():
                each = ids.numel() // losses.numel()
                flat = ids.reshape(-1).long()
                self._sums.index_add_(0, flat, kept.repeat_interleave(each))
                self._counts.index_add_(0, flat, ones.repeat_interleave(each))
                fits = True
        return fits

    def totals(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Sums and numbers of `rows`, on the host; waits for the device."""
        at = torch.from_numpy(rows).to(self._sums.device)
        both = torch.stack([self._sums.index_select(0, at), self._counts.index_select(0, at)])
        sums, counts = both.double().cpu().numpy()
        return sums, counts

    def state_dict(self) -> dict[str, Any]:
        """Copies."""
        return {"sums": self._sums.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        self._sums.copy_(state["sums"])
        self._counts.copy_(state["counts"])
