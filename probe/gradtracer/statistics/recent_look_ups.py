"""The look-ups of the last few steps, in one buffer, so that one operation takes in many steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_CAPACITY = (4_096, 16_384)


class RecentLookUps:
    """Copies of ids, `[n]` int64 on the table's device, side by side in the order of the steps.

    Copies, as a loader may fill the same tensor anew for the next step. Holds half a byte for each
    row of the table, within 32 and 128 KiB, or the largest step.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        low, high = _CAPACITY
        self._capacity = min(max(low, rows // 16), high)
        self._buffer = torch.zeros(0, dtype=torch.int64, device=device)
        self.bounds = [0]
        """Where each step ends, after a first 0."""

    @property
    def steps(self) -> int:
        """Number of steps held."""
        return len(self.bounds) - 1

    @property
    def ids(self) -> torch.Tensor:
        """All of them; a view, valid until `clear`."""
        return self._buffer[: self.bounds[-1]]

    @property
    def latest(self) -> torch.Tensor:
        """Those of the latest step; a view like `ids`."""
        return self._buffer[self.bounds[-2] : self.bounds[-1]]

    def fits(self, size: int) -> bool:
        """Whether `size` more can be held beside those there are."""
        return self.bounds[-1] + size <= max(self._capacity, self._buffer.numel())

    def append(self, parts: Sequence[torch.Tensor], size: int) -> None:
        """Take in one step of `size` ids, of any shape and integer type.

        Where it does not fit, what is held must have been cleared.
        """
        end = self.bounds[-1]
        if end + size > self._buffer.numel():
            self._buffer = self._buffer.new_zeros(max(size, self._capacity))
        for part in parts:
            begin, end = end, end + part.numel()
            self._buffer[begin:end].copy_(part.reshape(-1))
        self.bounds.append(end)

    def clear(self) -> None:
        """Let go of all."""
        self.bounds = [0]
