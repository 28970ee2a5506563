"""In how many steps each output unit of a layer received any gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.statistics.unseen import Unseen, unseen_rows

WINDOW = 64
"""Steps in a window; the last whole one and the present one are judged together."""
MIN_STEPS = 60
"""Rule of three: a unit silent in 60 steps is active in fewer than 5 % of them, at 95 %."""


class Activity(NamedTuple):
    """What is known of the units over the last one or two windows."""

    counts: torch.Tensor
    """`[U]` int32: steps with a gradient other than zero."""
    steps: torch.Tensor
    """`[L]` int32: steps that could tell an active unit from a silent one."""


class UnitActivity:
    """Counts for all units of all layers, on the device.

    A unit behind a rectifier that is off for every example of a batch passes nothing back: its
    bias's gradient, or its row of the weight's where it has no bias, is exactly zero. So the
    gradient tells what the activations would, for `nn.ReLU` and `F.relu`, compiled and checkpointed
    graphs alike, and without a hook in the forward pass. Units of a smooth activation (GELU, SiLU)
    never come to exactly zero. Inputs that are all zero leave the bias its gradient.
    """

    def __init__(self, units: Sequence[int], device: torch.device) -> None:
        """`units[i]` is the number of units of layer i, 0 where they are not judged."""
        owner = torch.repeat_interleave(
            torch.arange(len(units), device="cpu"), torch.tensor(list(units), device="cpu")
        )
        self._layer = owner.to(device, non_blocking=True)
        self._now = self._fresh(len(units), device)
        self._earlier = self._fresh(len(units), device)
        self._age = 0
        self.published: Activity | None = None

    def _fresh(self, layers: int, device: torch.device) -> Activity:
        return Activity(
            torch.zeros(self._layer.numel(), dtype=torch.int32, device=device),
            torch.zeros(layers, dtype=torch.int32, device=device),
        )

    def add(self, active: torch.Tensor, telling: torch.Tensor) -> None:
        """Take in a burst.

        Args:
            active: `[S, U]` bool: whether each unit had a gradient in each of S steps.
            telling: `[S, L]` bool: whether the layer's gradients of that step can tell.
        """
        if self._layer.numel() == 0:
            return
        if self._age >= WINDOW:
            self._earlier, self._now = self._now, self._fresh(telling.shape[1], telling.device)
            self._age = 0
        self._age += active.shape[0]
        self._now.counts.add_((active & telling[:, self._layer]).sum(0))
        self._now.steps.add_(telling.sum(0))

    def state_dict(self) -> dict[str, Any]:
        """Copies on the host."""
        both = (self._now, self._earlier)
        return {
            "counts": torch.stack([each.counts for each in both]).cpu(),
            "steps": torch.stack([each.steps for each in both]).cpu(),
            "age": self._age,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state of the same units. Raises KeyError."""
        device = self._layer.device
        counts, steps = (state[name].to(device, copy=True) for name in ("counts", "steps"))
        self._now, self._earlier = (Activity(counts[i], steps[i]) for i in range(2))
        self._age = int(state["age"])

    def publish(self) -> None:
        """Let another thread read what there is."""
        self.published = Activity(
            self._now.counts + self._earlier.counts, self._now.steps + self._earlier.steps
        )


class DeadUnits(NamedTuple):
    """Units of one layer without any gradient in `steps` steps."""

    units: int
    steps: int
    unseen: Unseen
    """Silent units, and how many of them as many steps again would wake."""
    silent: npt.NDArray[np.int64]
    """Their indices."""


def dead_units(counts: npt.NDArray[np.int64], steps: int) -> DeadUnits | None:
    """Judge one layer's `[O]` counts; None with fewer than 60 steps or no units.

    Units that are rarely active (a sampled softmax, tiny batches) are told from dead ones by the
    Good-Toulmin estimate of `statistics/unseen.py`: where many units were active once or twice,
    others are yet to come.
    """
    if counts.size == 0 or steps < MIN_STEPS:
        return None
    units = int(counts.size)
    # With no unit ever active there is nothing to forecast from, and none to come.
    unseen = unseen_rows(counts) if counts.any() else Unseen(units, 0.0, 1.0, 0)
    return DeadUnits(units, steps, unseen, np.flatnonzero(counts == 0))
