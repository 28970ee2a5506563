"""Whether a weight stands still although gradients reach it: for those that nobody steps on."""

from __future__ import annotations

import torch

_VALUES = 256


class GradientReach:
    """Over which steps of the run gradients have reached a weight, as seen at reports."""

    def __init__(self, step: int) -> None:
        """From `step` of the run on."""
        self._first = self._last = step
        self._seen: tuple[int, int] | None = None

    def steps(self, weight: torch.Tensor, step: int) -> int:
        """Steps up to the last report that found another gradient than the one before; 0 for none.

        A model that is trained no more keeps its last gradient while another one takes steps.
        """
        grad = weight.grad
        if grad is None or not weight.requires_grad:
            return 0
        seen = id(grad), grad._version
        if seen != self._seen:
            self._seen, self._last = seen, step
        return self._last - self._first


class Standing:
    """Remembers some values of a weight, spread over it, from `step` of the run on."""

    def __init__(self, weight: torch.Tensor, step: int) -> None:
        """Keep at most 256 values, on the weight's device."""
        count = min(weight.numel(), _VALUES)
        spread = torch.arange(count, dtype=torch.int64, device=weight.device)
        self._places = spread * (weight.numel() // max(1, count))
        self._first = weight.detach().take(self._places)
        self._reach = GradientReach(step)

    def steps(self, weight: torch.Tensor, step: int) -> int:
        """Steps whose gradients left every remembered value as it was; 0 where one is not.

        Waits for the device. A weight that was replaced or moved is not known.
        """
        if weight.device != self._places.device:
            return 0
        now = weight.detach().take(self._places)
        same = now.dtype == self._first.dtype and torch.equal(now, self._first)
        return self._reach.steps(weight, step) if same else 0
