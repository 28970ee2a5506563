"""What is kept of an embedding table while it trains: on its device, O(batch rows) a step.

Runs in the training thread between forward and optimizer step. Reads nothing back to the host.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from gradtracer.ranks import place_among_ranks
from gradtracer.statistics.exposure import Exposure
from gradtracer.statistics.movement import Movement
from gradtracer.statistics.noise_energy import NoiseEnergy
from gradtracer.statistics.recent_look_ups import RecentLookUps

_BURST_PER_ROW = 16
_BURST_BOUNDS = (64, 4096)
_FIRST_BURST = 256
_MOVEMENT_EVERY = {False: 8, True: 64}
"""Followed steps to each whose movement is measured, by whether the gradient is sparse."""
_MAX_PENDING = 64
_ATTEMPTS = 20
_TOGETHER = 16_384
"""Look-ups of followed steps that are taken into the state at once, if they are of several steps:
what is kept of them meanwhile is eight times as large as they are."""
_SETTLE_SECONDS = 1.0
"""How old a followed step may be and not yet be in the state that the reporting thread reads."""


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
        self.first_nonfinite = torch.full((), -1, dtype=torch.int64, device=device)
        """The run's step of the first of them; -1 where there was none."""
        self._recent = RecentLookUps(rows, device)
        self._step = 0
        self._followed: list[int] = []
        """The run's steps that are followed and not yet in the state of the noise."""
        self._bounds: list[int] = []
        """Where each of them ends among the recent look-ups, after where the first one begins."""
        self._version = 0
        """Odd while recent look-ups go into the counts."""
        self._settled = time.monotonic()
        self._interval = track_interval
        self._pending: list[torch.Tensor] = []
        self._last: list[torch.Tensor] = []
        self.waits = False
        """Whether something is to be done after the step."""
        self._burst_limit = _FIRST_BURST
        self._burst_left = 0
        self._burst_length = 0
        self._pause_left = 0
        self._paused = False

    def set_interval(self, track_interval: int) -> None:
        """Follow another share of the steps from the next burst on; from any thread."""
        self._interval = track_interval

    def look_up(self, ids: torch.Tensor, *, trains: bool) -> None:
        """A forward pass used `ids` (any shape, any integer type).

        They are counted at the optimizer step they belong to. Without one (`trains` false, or
        many forwards and no step) they are counted here.
        """
        # Autograd keeps the very tensor for the backward pass, so nobody changes it before then.
        self._pending.append(ids)
        if not trains or len(self._pending) >= _MAX_PENDING:
            self.count_pending()

    def count_pending(self) -> None:
        """Count what no optimizer step has followed, and all before; in the training's thread."""
        self.settle()
        self._version += 1
        for ids in self._pending:
            self.exposure.add(ids.reshape(-1))
        self._pending.clear()
        self._version += 1

    @property
    def look_ups(self) -> int:
        """Look-ups up to the last step."""
        return self.exposure.total + self._recent.end

    @property
    def batch(self) -> list[torch.Tensor]:
        """Ids of the passes since the last step; where there is none, of the passes before it."""
        return self._pending or self._last

    @property
    def has_pending(self) -> bool:
        """Whether there are look-ups since the last step."""
        return bool(self._pending)

    @property
    def pauses(self) -> bool:
        """Whether the next step is one that is not followed, whatever its gradient."""
        return self._pause_left > 0 and self._burst_left == 0

    def counts_now(self, first: int = 0, last: int | None = None) -> torch.Tensor:
        """`[last - first]` look-ups of these rows up to the last step, a copy; for any thread.

        Read again where the training counted meanwhile; the counts alone where it always does.
        """
        exposure = self.exposure
        for _ in range(_ATTEMPTS):
            version = self._version
            counts, recent = exposure.counts[first:last].clone(), self._recent.ids - first
            recent = recent[(recent >= 0) & (recent < counts.numel())]
            if version % 2 == 0 and version == self._version:
                counts.index_add_(0, recent, torch.ones_like(recent, dtype=counts.dtype))
                return counts
        return exposure.counts[first:last].clone()

    def before_step(self, weight: torch.Tensor, grad: torch.Tensor | None, step: int = 0) -> None:
        """The optimizer is about to step on `weight`, in the run's step `step`.

        While the observer `pauses`, the gradient may be left out.
        """
        if self.pauses:
            self.pass_over()
            return
        pending = self._pending
        self._step = step
        size = 0
        for ids in pending:
            size += ids.numel()
        if size == 0:
            pending.clear()
            return
        if grad is None:
            self._settle_followed()
            self._keep_pending()
            return
        self._continue_burst(size)
        self._make_room(size)
        self._keep_pending()
        # With `create_graph` it is part of a graph. Cheaper than a context at every step.
        grad = grad.detach() if grad.requires_grad else grad
        self._follow(weight, grad, pending)

    def pass_over(self) -> bool:
        """An optimizer steps, or has stepped, while the observer `pauses`. True: no longer.

        Most of what a step outside a burst costs: its code and data have left the cache.
        """
        if not self._pending:
            return False
        if self._bounds:
            self._settle_followed()
        self._keep_pending()
        self._paused = True
        # The interval may have become shorter since the burst began.
        left = min(self._pause_left - 1, self._burst_length * (self._interval - 1))
        self._pause_left = left
        return left <= 0

    def _keep_pending(self) -> None:
        """Put the look-ups of a step among the recent ones."""
        recent, pending = self._recent, self._pending
        for ids in pending:
            if not recent.append(ids):
                self.settle()
                recent.append(ids)
        self._last, self._pending = pending, []

    def _make_room(self, size: int) -> None:
        """For a followed step of `size` look-ups, which go side by side."""
        bounds = self._bounds
        if not self._recent.fits(size):
            self.settle()
            self._recent.reserve(size)
        elif bounds and (
            len(bounds) > self.noise.together
            or bounds[-1] - bounds[0] + size > _TOGETHER
            or time.monotonic() - self._settled > _SETTLE_SECONDS
        ):
            self._settle_followed()
        if not self._bounds:
            self._bounds = [self._recent.end]

    def _settle_followed(self) -> None:
        """Take the followed steps into the state of the noise; they are still to be counted."""
        bounds = self._bounds
        if bounds:
            first = bounds[0]
            ids = self._recent.ids[first : bounds[-1]]
            bad = self.noise.settle(ids, [bound - first for bound in bounds])
            if bad is not None:
                self._note_nonfinite(bad)
            self._followed.clear()
            self._bounds = []
        self._settled = time.monotonic()

    def _note_nonfinite(self, bad: torch.Tensor) -> None:
        """`[S]` bool: which of the followed steps."""
        self.nonfinite_steps += bad.sum()
        # Off the host every step is settled by itself: nothing is asked of the device.
        first = self._followed[int(bad.int().argmax()) if self.noise.together > 1 else 0]
        news = bad.any() & (self.first_nonfinite < 0)
        self.first_nonfinite = torch.where(news, first, self.first_nonfinite)

    def settle(self) -> None:
        """Take the recent steps into the state: as exact as step by step, at a fraction.

        In the training's thread.
        """
        recent = self._recent
        self._settle_followed()
        if recent.end:
            self._version += 1
            self.exposure.add(recent.ids)
            recent.clear()
            self._version += 1

    def _follow(self, weight: torch.Tensor, grad: torch.Tensor, passes: list[torch.Tensor]) -> None:
        given = passes[0] if len(passes) == 1 else None
        ids = torch.cat([each.reshape(-1) for each in passes]) if given is None else given
        ids = ids.reshape(-1).long()
        bounds = self._bounds
        self.noise.record(bounds[-1] - bounds[0], ids, grad, given)
        bounds.append(self._recent.end)
        self._followed.append(self._step)
        if self.tracked_steps % _MOVEMENT_EVERY[grad.is_sparse] == 0:
            # A sparse gradient moves its own rows only: then there is no drift to look for.
            # In a replica they may be other ranks' examples that a row moves for.
            shared = place_among_ranks().world_size > 1
            dense = None if grad.is_sparse else grad
            self.movement.before(weight.detach(), ids, dense, shared=shared)
            self.waits = True
        self.tracked_steps += 1

    @torch.no_grad()
    def after_step(self, weight: torch.Tensor) -> None:
        """The optimizer has stepped."""
        if self.waits:
            self.waits = False
            self.movement.after(weight)

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to go on counting; tensors are copies."""
        self.settle()
        return {
            "exposure": self.exposure.state_dict(),
            "noise": self.noise.words.clone(),
            "movement": self.movement.sums.clone(),
            "tracked_steps": self.tracked_steps,
            "nonfinite_steps": self.nonfinite_steps.clone(),
            "first_nonfinite": self.first_nonfinite.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s state of a table of the same shape. Raises KeyError."""

        def tensor(name: str) -> torch.Tensor:
            return torch.as_tensor(state[name]).to(self.device, copy=True)

        self._recent.clear()
        self._bounds = []
        self._followed.clear()
        self.noise.discard()
        self.exposure.load_state_dict(state["exposure"])
        words = torch.as_tensor(state["noise"])
        if words.shape == self.noise.words.shape:
            self.noise.words.copy_(words)
        else:
            # An earlier version kept 24 bytes a row; the averages come back within 16 exposures.
            self.noise.words.zero_()
        self.movement.sums = tensor("movement")
        self.tracked_steps = int(state["tracked_steps"])
        self.nonfinite_steps = tensor("nonfinite_steps")
        if "first_nonfinite" in state:
            self.first_nonfinite = tensor("first_nonfinite")
        # Steps may lie between the two processes.
        self.noise.start_burst()

    def _continue_burst(self, batch_size: int) -> None:
        """A step is followed: in bursts of consecutive steps, 1/interval of all.

        Sampling single steps would turn an alternation of period 2 into a steady pull, so a row
        must be seen at several exposures in succession. A large table's first bursts are short, so
        that a run of any length keeps to its share.
        """
        if self._interval == 1 and self._pause_left == 0:
            if self._paused:
                self._paused = False
                self.noise.start_burst()
            return
        if self._burst_left == 0:
            self._paused = False
            rows = self.exposure.counts.numel()
            low, high = _BURST_BOUNDS
            length = min(max(_BURST_PER_ROW * rows // max(1, batch_size), low), self._burst_limit)
            self._burst_limit = min(2 * self._burst_limit, high)
            self._burst_left = self._burst_length = length
            self._pause_left = length * (self._interval - 1)
            if self.tracked_steps:
                self.noise.start_burst()
        self._burst_left -= 1
