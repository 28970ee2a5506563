"""The look-ups of the last few steps, in one buffer, so that one operation takes in many steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradtracer.statistics.step_buffer import StepBuffer

_CAPACITY = (4_096, 131_072)


class RecentLookUps:
    """Copies of ids, `[n]` int64 on the table's device, side by side in the order of the steps.

    Copies, as a loader may fill the same tensor anew for the next step. Holds half a byte for each
    row of the table, within 32 KiB and 1 MiB, or the largest step: the more look-ups are counted at
    once, the more of them find a row's count in the cache.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        low, high = _CAPACITY
        self._capacity = min(max(low, rows // 16), high)
        self._buffer = StepBuffer(torch.zeros(0, dtype=torch.int64, device=device))
        self.bounds = [0]
        """Where each step ends, after a first 0."""

    @property
    def steps(self) -> int:
        """Number of steps held."""
        return len(self.bounds) - 1

    @property
    def ids(self) -> torch.Tensor:
        """All of them; a view, valid until `clear`."""
        return self._buffer.whole[: self.bounds[-1]]

    @property
    def latest(self) -> torch.Tensor:
        """Those of the latest step; a view like `ids`."""
        return self._buffer.part(self.bounds[-2], self.bounds[-1])

    def since(self, step: int) -> tuple[torch.Tensor, list[int]]:
        """Those of the steps from number `step` on, and `bounds` for them alone."""
        first = self.bounds[step]
        return self.ids[first:], [bound - first for bound in self.bounds[step:]]

    def fits(self, size: int) -> bool:
        """Whether `size` more can be held beside those there are."""
        return self.bounds[-1] + size <= max(self._capacity, self._buffer.size)

    def append(self, parts: Sequence[torch.Tensor], size: int) -> None:
        """Take in one step of `size` ids, of any shape and integer type.

        Where it does not fit, what is held must have been cleared.
        """
        end = self.bounds[-1]
        if end + size > self._buffer.size:
            self._buffer.resize(max(size, self._capacity))
        for part in parts:
            begin, end = end, end + part.numel()
            self._buffer.part(begin, end).copy_(part if part.dim() == 1 else part.reshape(-1))
        self.bounds.append(end)

    def clear(self) -> None:
        """Let go of all."""
        self.bounds = [0]
