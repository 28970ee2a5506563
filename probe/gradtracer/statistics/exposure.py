"""How often each row of a table was looked up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

_FIRST_NOTE = 64
_AT_ONCE = 16_384
_COUNTS_IN_A_LINE = 16
"""Of the cache."""
INT32_MAX = 2**31 - 1


class Halfway(NamedTuple):
    """What the later part of the look-ups brought."""

    share: float
    """Share of all look-ups at which the note was taken, 0 to 0.5."""
    since: int
    """Rows first seen after that."""


class Exposure:
    """Exact look-up counts, `[N]`, on the table's device.

    int32 (4 bytes a row) until the total number of look-ups could overflow a row, int64 from then.
    At each half octave of look-ups the number of rows seen is noted, on the device: O(N), some
    dozens of times in a run.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self.counts = torch.zeros(rows, dtype=torch.int32, device=device)
        self.total = 0
        self._notes: list[tuple[int, torch.Tensor]] = []
        self._next_note = _FIRST_NOTE
        self._ones = torch.ones(0, dtype=torch.int32, device=device)
        self._rows = torch.zeros(0, dtype=torch.int64, device=device)

    def add(self, ids: torch.Tensor) -> None:
        """Count one look-up for each entry of `ids`, `[B]` of any integer type.

        Cost O(B), no host synchronisation. An empty batch counts nothing.
        """
        size = ids.numel()
        if size == 0:
            return
        self.total += size
        if self.total > INT32_MAX and self.counts.dtype == torch.int32:
            self.counts = self.counts.long()
        if self.counts.device.type == "cpu" and _COUNTS_IN_A_LINE * size >= self.counts.numel():
            # Most of the counts are needed: read in their order they come to the cache in a third
            # of the time that they take one by one.
            self.counts.max()
        part = min(size, _AT_ONCE)
        if self._ones.numel() < part or self._ones.dtype != self.counts.dtype:
            self._ones = torch.ones(part, dtype=self.counts.dtype, device=self.counts.device)
            self._rows = torch.zeros(part, dtype=torch.int64, device=self.counts.device)
        for some in ids.split(_AT_ONCE):
            rows = self._rows[: some.numel()].copy_(some)
            self.counts.scatter_add_(0, rows, self._ones[: some.numel()])
        if self.total >= self._next_note:
            self._notes.append((self.total, torch.count_nonzero(self.counts)))
            self._next_note = next_note(self.total)

    def state_dict(self) -> dict[str, Any]:
        """Counts and notes, as copies; waits for the device."""
        return {
            "counts": self.counts.clone(),
            "total": self.total,
            "notes": [(look_ups, int(seen)) for look_ups, seen in self._notes],
            "next_note": self._next_note,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        device = self.counts.device
        self.counts = torch.as_tensor(state["counts"]).to(device, copy=True)
        self.total = int(state["total"])
        self._notes = [
            (look_ups, torch.tensor(seen, device="cpu")) for look_ups, seen in state["notes"]
        ]
        self._next_note = int(state["next_note"])

    def halfway(self) -> Halfway | None:
        """What the later half brought; waits for the device. None at the very beginning."""
        return halfway(self._notes, self.total, torch.count_nonzero(self.counts))


def next_note(look_ups: int) -> int:
    """Half an octave on."""
    return max(_FIRST_NOTE, math.ceil(look_ups * math.sqrt(2.0)))


def halfway(
    notes: Sequence[tuple[int, int | torch.Tensor]], look_ups: int, seen: int | torch.Tensor
) -> Halfway | None:
    """From the latest of `notes` at no more than half of the look-ups; None where there is none.

    A note is a number of look-ups and of rows seen by then; `look_ups` and `seen` are those of now.
    """
    for earlier, seen_then in reversed(notes):
        if 2 * earlier <= look_ups:
            return Halfway(earlier / look_ups, int(seen) - int(seen_then))
    return None
