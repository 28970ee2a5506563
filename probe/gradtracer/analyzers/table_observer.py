"""What is kept of an embedding table while it trains: on its device, O(batch rows) a step.

Runs in the training thread between forward and optimizer step. Reads nothing back to the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from gradtracer.statistics.batch_rows import BatchRows, RowIndex
from gradtracer.statistics.exposure import Exposure
from gradtracer.statistics.movement import Movement
from gradtracer.statistics.noise_energy import NoiseEnergy

_BURST_PER_ROW = 16
_BURST_BOUNDS = (64, 4096)
_FIRST_BURST = 256
_MOVEMENT_EVERY = 8
_MAX_PENDING = 64


class Treatment(NamedTuple):
    """Rows whose updates are scaled, and by how much."""

    rows: torch.Tensor
    """`[R]` int64."""
    scales: torch.Tensor
    """`[R, 1]`, 0 to 1, in the table's dtype."""


class TableObserver:
    """State and statistics of one table `[N, D]`."""

    def __init__(
        self, weight: torch.Tensor, *, track_interval: int, seed: int, padding_idx: int | None
    ) -> None:
        rows, dim = weight.shape
        device = weight.device
        self.device = device
        self.exposure = Exposure(rows, device)
        self.noise = NoiseEnergy(rows, dim, device, seed)
        self.movement = Movement(rows, device, seed, padding_idx)
        self.tracked_steps = 0
        self.nonfinite_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.treatment: Treatment | None = None
        self._index = RowIndex(rows, device)
        self._interval = track_interval
        self._pending: list[torch.Tensor] = []
        self._batch: BatchRows | None = None
        self._burst_limit = _FIRST_BURST
        self._burst_left = 0
        self._pause_left = 0
        self._treated: tuple[Treatment, torch.Tensor] | None = None

    def look_up(self, ids: torch.Tensor, *, trains: bool) -> None:
        """A forward pass used `ids` (any shape, any integer type).

        They are counted at the optimizer step they belong to. Without one (`trains` false, or
        many forwards and no step) they are counted here.
        """
        # Autograd keeps the very tensor for the backward pass, so nobody changes it before then.
        self._pending.append(ids.detach())
        if not trains or len(self._pending) >= _MAX_PENDING:
            self._count()

    def count_pending(self) -> None:
        """Count look-ups that no optimizer step has followed; in the training's own thread."""
        self._count()

    def _count(self) -> torch.Tensor | None:
        if not self._pending:
            return None
        parts = [ids.reshape(-1).long().to(self.device) for ids in self._pending]
        self._pending.clear()
        ids = parts[0] if len(parts) == 1 else torch.cat(parts)
        self.exposure.add(ids)
        return ids if ids.numel() else None

    def before_step(self, weight: torch.Tensor, grad: torch.Tensor | None) -> None:
        """The optimizer is about to step on `weight`."""
        ids = self._count()
        self._batch = None
        follows = ids is not None and grad is not None and self._in_burst(ids.numel())
        if follows or self.treatment is not None:
            with torch.no_grad():
                self._before_step(weight, grad, ids if follows else None)

    def _before_step(
        self, weight: torch.Tensor, grad: torch.Tensor | None, ids: torch.Tensor | None
    ) -> None:
        treatment = self.treatment
        if treatment is not None:
            self._treated = (treatment, weight.index_select(0, treatment.rows))
        if ids is None or grad is None:
            return
        batch = self._index.group(ids)
        self.nonfinite_steps += self.noise.update(batch, grad, self._index)
        if self.tracked_steps % _MOVEMENT_EVERY == 0:
            # A sparse gradient moves its own rows only: then there is no drift to look for.
            self.movement.before(weight, batch, witnesses=not grad.is_sparse)
            self._batch = batch
        self.tracked_steps += 1

    @property
    def waits(self) -> bool:
        """Whether something is to be done after the step."""
        return self._batch is not None or self._treated is not None

    @torch.no_grad()
    def after_step(self, weight: torch.Tensor) -> None:
        """The optimizer has stepped."""
        if self._treated is not None:
            treatment, before = self._treated
            moved = weight.index_select(0, treatment.rows) - before
            weight.index_copy_(0, treatment.rows, before + treatment.scales * moved)
            self._treated = None
        if self._batch is not None:
            self.movement.after(weight, self._batch, self._index)
            self._batch = None

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to go on counting; tensors are copies."""
        return {
            "exposure": self.exposure.state_dict(),
            "noise": self.noise.state.clone(),
            "movement": self.movement.sums.clone(),
            "tracked_steps": self.tracked_steps,
            "nonfinite_steps": self.nonfinite_steps.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s state of a table of the same shape. Raises KeyError."""

        def tensor(name: str) -> torch.Tensor:
            return torch.as_tensor(state[name]).to(self.device, copy=True)

        self.exposure.load_state_dict(state["exposure"])
        self.noise.state = tensor("noise")
        self.movement.sums = tensor("movement")
        self.tracked_steps = int(state["tracked_steps"])
        self.nonfinite_steps = tensor("nonfinite_steps")
        # Steps may lie between the two processes.
        self.noise.start_burst()

    def _in_burst(self, batch_size: int) -> bool:
        """Whether this step is followed: bursts of consecutive steps, 1/interval of all.

        Sampling single steps would turn an alternation of period 2 into a steady pull, so a row
        must be seen at several exposures in succession. A large table's first bursts are short, so
        that a run of any length keeps to its share.
        """
        if self._interval == 1:
            return True
        if self._burst_left == 0 and self._pause_left == 0:
            rows = self.exposure.counts.numel()
            low, high = _BURST_BOUNDS
            length = min(max(_BURST_PER_ROW * rows // max(1, batch_size), low), self._burst_limit)
            self._burst_limit = min(2 * self._burst_limit, high)
            self._burst_left, self._pause_left = length, length * (self._interval - 1)
            if self.tracked_steps:
                self.noise.start_burst()
        if self._burst_left > 0:
            self._burst_left -= 1
            return True
        self._pause_left -= 1
        return False
