"""Sums over bursts of steps for many layers at once, in bounded space and at a known step."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import torch

MOST_SLOTS = 64


class Column(IntEnum):
    """What is summed; one column each. Logarithms are natural."""

    STEPS = 0
    """Tracked steps."""
    NONFINITE = 1
    """Steps with a gradient norm that is not finite."""
    ZERO = 2
    """Steps with a gradient of zero, or without one."""
    LOG_NORM = 3
    """Sum of log gradient norm over the other steps."""
    LOG_NORM_SQUARE = 4
    """Sum of its square."""
    MEASURED = 5
    """Steps whose update was measured and finite."""
    RATIO = 6
    """Sum of |dW| / |W|."""
    RATIO_SQUARE = 7
    """Sum of its square."""
    MOVED = 8
    """Measured steps with any movement."""
    LOG_RATIO = 9
    """Sum of log(|dW| / |W|) over those."""
    LOG_RATIO_SQUARE = 10
    """Sum of its square."""
    MOVED_ENOUGH = 11
    """Measured steps with a ratio above the stagnation limit."""


class Slot(NamedTuple):
    """One burst, or several neighbours."""

    first: int
    """The run's step before the first of the slot's."""
    last: int
    """The step of the last one."""
    sums: torch.Tensor
    """`[L, len(Column)]` float64."""
    ends: torch.Tensor
    """`[L, 2]` float64: norm of the weights before the first step and after the last."""


class StepHistory:
    """Slots of one set of layers, oldest first: never more than 64, whatever the run's length.

    When they are full, neighbours are added up two by two, so that the whole run stays in view;
    the first burst stays as it is, for comparison. Slots are never changed once written: another
    thread may read them at any time.
    """

    def __init__(self) -> None:
        self.slots: tuple[Slot, ...] = ()

    def append(self, slot: Slot) -> None:
        """Add a burst. No host synchronisation."""
        slots = (*self.slots, slot)
        if len(slots) > MOST_SLOTS:
            pairs = zip(slots[1::2], slots[2::2], strict=True)
            slots = (slots[0], *(_merge(one, other) for one, other in pairs))
        self.slots = slots

    def state_dict(self, step: int) -> list[dict[str, Any]]:
        """Copies on the host; steps are told from `step`, that of now: none is above 0."""
        return [
            {
                "first": slot.first - step,
                "last": slot.last - step,
                "sums": slot.sums.cpu(),
                "ends": slot.ends.cpu(),
            }
            for slot in self.slots
        ]

    def load_state_dict(self, state: list[dict[str, Any]], step: int, device: torch.device) -> None:
        """Go on from a saved state in the run's step `step`. Raises KeyError."""
        self.slots = tuple(
            Slot(
                int(slot["first"]) + step,
                int(slot["last"]) + step,
                slot["sums"].to(device),
                slot["ends"].to(device),
            )
            for slot in state
        )


def _merge(one: Slot, other: Slot) -> Slot:
    ends = torch.stack([one.ends[:, 0], other.ends[:, 1]], dim=1)
    return Slot(one.first, other.last, one.sums + other.sums, ends)
