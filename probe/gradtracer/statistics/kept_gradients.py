"""Whether a step's gradient is added to those of all steps before, as nobody clears them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class KeptGradients(NamedTuple):
    """Of the steps looked at."""

    steps: int
    """Between two looks at which nothing but one addition a step was written into the gradients."""
    of: int
    """Between two looks at all."""
    alike: float
    """Mean cosine of the gradients of two looks that follow on each other, in the later half."""


class GradientWrites:
    """Counts, in the training thread, what is written into gradients between two looks.

    PyTorch counts the writes into a tensor. `backward` adds to a gradient that is there, one write,
    and makes a new one where there is none; `zero_grad(set_to_none=False)` is a write of its own.
    So as many writes as steps say that nothing cleared the gradient.
    """

    def __init__(self) -> None:
        self.kept = self.of = 0
        self._step = 0
        self._before: list[int | None] = []

    def look(self, gradients: Sequence[torch.Tensor | None], step: int) -> None:
        """After so many steps; of the same weights each time, `None` where one has none."""
        steps, self._step = step - self._step, step
        now = [None if grad is None else grad._version for grad in gradients]
        before, self._before = self._before, now
        pairs = [(a, b) for a, b in zip(before, now, strict=False) if b is not None]
        if not pairs or len(before) != len(now):
            return
        self.of += steps
        if all(a is not None and b - a == steps for a, b in pairs):
            self.kept += steps


def alike(gradients: NDArray[np.float64]) -> float:
    """Mean cosine of neighbours among `[L, C]` gradients; 0 with fewer than two, or one of zeros.

    A sum that goes on for k steps more is nearly what it was; batches drawn anew have little in
    common. So it also tells a sum from a gradient that is cleared where PyTorch counts no write.
    """
    if len(gradients) < 2:
        return 0.0
    norms = np.linalg.norm(gradients, axis=1)
    if not np.isfinite(norms).all() or (norms <= 0).any():
        return 0.0
    unit = gradients / norms[:, None]
    return float((unit[1:] * unit[:-1]).sum(1).mean())
