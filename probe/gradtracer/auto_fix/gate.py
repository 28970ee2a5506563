"""The gate: updates are left alone while the loss of the whole training is still improving.

Shrinking an update is worth its price where noise is what the step is made of. While the loss still
falls, steps as large as they are do their work, and to shrink them ends in a training cut short; a
loss that no longer falls, or rises, is where noise rules. So the gate closes by the posterior
probability that the loss is improving, and opens when that is one half or less.

The posterior is that of the slope of a straight line through the means of blocks of losses, with
the reference prior: (slope - estimate) / error is Student t with m - 2 degrees of freedom (Gelman
et al., Bayesian Data Analysis, 3rd ed., section 14.2). The blocks are those of the later half of
the training; they grow with it, so that neighbours have little in common.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy import stats

_BLOCK = 8
_MAX_BLOCKS = 64
_FEWEST = 8
"""Blocks in the later half, before which the slope says nothing."""
_OPENS = 0.5
_CLOSES = 0.95
"""Between the two the gate stays as it is: it is not to flap."""


class Verdict(NamedTuple):
    """Whether the intervention may act."""

    open: bool
    improving: float | None
    """Posterior probability that the loss is improving; None where that is not known."""
    reason: str


class LossGate:
    """Fed with losses by the training, in O(1) and without waiting for the device.

    Args:
        without_loss: whether it is open where no loss is ever given.
    """

    def __init__(self, *, without_loss: bool) -> None:
        self._without_loss = without_loss
        self._blocks: list[torch.Tensor] = []
        self._length = _BLOCK
        self._sum: torch.Tensor | None = None
        self._summed = 0
        self._open = False
        self._step = -1

    def add(self, loss: Any, step: int) -> None:
        """Take in the loss of a step, a number or a tensor (its mean counts); one for each step."""
        if step == self._step:
            return
        self._step = step
        value = (
            loss.detach()
            if isinstance(loss, torch.Tensor)
            else torch.tensor(float(loss), dtype=torch.float32, device="cpu")
        )
        value = value.double().mean() if value.device.type == "cpu" else value.float().mean()
        self._sum = value if self._sum is None else self._sum.to(value.device) + value
        self._summed += 1
        if self._summed < self._length:
            return
        self._blocks.append(self._sum / self._summed)
        self._sum, self._summed = None, 0
        if len(self._blocks) == _MAX_BLOCKS:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
            self._blocks = [(first + second) / 2 for first, second in pairs]
            self._length *= 2

    def verdict(self) -> Verdict:
        """Where it stands; waits for the device."""
        blocks = [float(block) for block in self._blocks[len(self._blocks) // 2 :]]
        if not self._blocks and self._sum is None:
            told = "no loss is given, so the gate cannot tell whether it improves"
            return Verdict(self._without_loss, None, f"{told}; pass it by tracker.step(loss)")
        if not all(math.isfinite(block) for block in blocks) or not self._finite_now():
            self._open = False
            return Verdict(False, None, "the loss is not finite")
        if len(blocks) < _FEWEST:
            return Verdict(False, None, "too few losses so far to tell whether they improve")
        improving = posterior_of_fall(blocks)
        if improving <= _OPENS:
            self._open = True
        elif improving > _CLOSES:
            self._open = False
        word = "is improving" if improving > _OPENS else "no longer improves"
        told = f"the loss {word} (posterior of improvement {improving:.2f})"
        return Verdict(self._open, improving, told)

    def _finite_now(self) -> bool:
        return self._sum is None or math.isfinite(float(self._sum))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {
            "blocks": [float(block) for block in self._blocks],
            "length": self._length,
            "sum": None if self._sum is None else float(self._sum),
            "summed": self._summed,
            "open": self._open,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        self._blocks = [torch.tensor(b, dtype=torch.float64, device="cpu") for b in state["blocks"]]
        self._length, self._summed = int(state["length"]), int(state["summed"])
        total = state["sum"]
        self._sum = (
            None if total is None else torch.tensor(total, dtype=torch.float64, device="cpu")
        )
        self._open = bool(state["open"])


def posterior_of_fall(values: list[float]) -> float:
    """Posterior probability that the slope of `values` (3 at least) over their index is negative.

    One half where all are equal.
    """
    m = len(values)
    middle, mean = (m - 1) / 2, math.fsum(values) / m
    spread = m * (m * m - 1) / 12
    slope = math.fsum((i - middle) * (v - mean) for i, v in enumerate(values)) / spread
    residual = math.fsum((v - mean - slope * (i - middle)) ** 2 for i, v in enumerate(values))
    error = math.sqrt(residual / (m - 2) / spread)
    if error <= 1e-12 * max(abs(mean), 1e-300):
        return 0.5 if slope == 0 else float(slope < 0)
    return float(stats.t.cdf(-slope / error, m - 2))
