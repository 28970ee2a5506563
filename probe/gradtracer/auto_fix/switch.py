"""Auto-fix of a tracked table, on or off; what fails in it switches it off and nothing else.

In replicas it is switched off in all of them, at one step: a rank that stopped alone would part
from the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.agreement import Follower, Leader
from gradtracer.auto_fix.intervene import AutoFix
from gradtracer.ranks import place_among_ranks

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")


class AutoFixSwitch:
    """Holds the auto-fix of one table, once there was one."""

    def __init__(self, run: Run, layer: str, track_interval: int) -> None:
        self.current: AutoFix | None = None
        self._following: Follower | None = None
        self._replaced = 0
        self._faulty = self._blind = False
        self._run, self._layer, self._interval = run, layer, track_interval

    @property
    def begun(self) -> bool:
        """Whether there is anything to do at a step, in this rank or after the first one's word."""
        return self.current is not None or self._following is not None

    @property
    def on(self) -> bool:
        """Whether it is on, or will be at the next step."""
        return self._following is not None or (self.current is not None and self.current.wanted)

    @property
    def audit(self) -> AutoFixAuditLogger | None:
        """Where it writes; None where it never was on."""
        return self.current.audit if self.current is not None else None

    def turn(self, on: bool, weight: torch.Tensor, *, reason: str) -> bool:
        """Turn it on or off from the next step on, from any thread; whether it will be so.

        Without a `reason` it is the script's own setting, which need not be told. Of several ranks
        all must turn it on, at the same step, and the first one decides whether anything is done.
        """
        if on and (self._blind or (not self.begun and not self._begin(weight, reason))):
            return False
        if self.current is not None and reason:
            self.current.request(on, reason)
        return True

    def _begin(self, weight: torch.Tensor, reason: str) -> bool:
        place = place_among_ranks()
        leader, self._faulty = None, False
        if place.world_size > 1:
            if type(weight.detach()) is not torch.Tensor or weight.dim() != 2:
                _log.warning(
                    "auto_fix is off for %s: each rank holds a part of the table, of which rows "
                    "cannot be scaled alike; it acts on whole copies, as DistributedDataParallel's",
                    self._layer,
                )
                return False
            channel = self._run.ranks.channel(f"auto_fix/{self._layer}/{self._replaced}")
            if channel is None:
                _log.warning(
                    "auto_fix is off for %s: %d ranks train, and there is no process group over "
                    "which they could agree; call init_process_group() before it is turned on",
                    self._layer,
                    place.world_size,
                )
                return False
            if place.rank:
                self._following = Follower(channel, self._layer, weight.shape[0], weight.device)
                return True
            leader = Leader(channel)
        self.current = AutoFix(
            self._run, self._layer, weight, self._interval, on=not reason, leader=leader
        )
        return True

    def replaced(self, weight: torch.Tensor) -> None:
        """The table is another one: begin anew."""
        on = self.on
        self.end()
        self._replaced += 1
        if on:
            self.turn(True, weight, reason="its weight was replaced or moved")

    def before_step(self, optimizer: Optimizer, weight: torch.Tensor) -> None:
        """The optimizer is about to step."""
        if self.current is not None:
            self._scaling(self.current.before_step, optimizer, weight)
        elif self._following is not None:
            self._scaling(self._following.before_step, optimizer, weight)

    def after_step(self, weight: torch.Tensor, observer: TableObserver, steps: int) -> None:
        """It has taken so many steps, counted alike in all ranks: not since it was turned on."""
        if self.current is not None:
            self._scaling(self.current.after_step, weight, observer, steps)
        elif self._following is not None:
            self._scaling(self._following.after_step, weight, steps)

    def follow(self) -> None:
        """In the thread of a rank that is not the first: look for what that one says."""
        if self._following is not None:
            self._guarded(self._following.follow)

    def take_loss(self, loss: Any, observer: TableObserver) -> None:
        """The training tells its loss."""
        if self.current is not None:
            self._guarded(self.current.take_loss, loss, observer.batch)

    def report(self, weight: torch.Tensor, observer: TableObserver, *, final: bool) -> None:
        """In the reporting thread."""
        if self.current is not None:
            self._guarded(self.current.report, observer, weight, final)

    def observation_failed(self) -> None:
        """The table is observed no more, while it trains on; it cannot be turned on again."""
        self._blind = place_among_ranks().world_size > 1
        if self._following is not None:
            # What the first rank says goes without this one's counts.
            return
        current = self.current
        if current is None or not current.stop_in_all_ranks("its table is no longer observed"):
            self.end()

    def end(self) -> None:
        """Nothing is observed any more."""
        if self.current is not None:
            self.current.audit.flush()
        self.current = self._following = None

    def forget(self) -> None:
        """Nothing more, and nothing written: it failed, or this is a copy in another process."""
        self.current = self._following = None

    def state_dict(self) -> dict[str, Any] | None:
        """State of what is on; None otherwise."""
        return self.current.state_dict() if self.current is not None else None

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from a saved state, where there is one and auto-fix is on. Raises KeyError."""
        if state is not None and self.current is not None:
            self.current.load_state_dict(state)

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception:
            self._fault()
            if place_among_ranks().world_size > 1:
                self.observation_failed()
            else:
                self.forget()

    def _scaling(self, call: Callable[..., None], *arguments: Any) -> None:
        """As `_guarded`, for what scales the step itself."""
        try:
            call(*arguments)
        except Exception:
            self._fault()
            side = self.current or self._following
            if place_among_ranks().world_size == 1 or side is None:
                self.forget()
                return
            _log.warning(
                "auto_fix of %s: this rank's copy has parted from the others, which stop",
                self._layer,
            )
            try:
                side.fail()
            except Exception:
                self.forget()

    def _fault(self) -> None:
        if not self._faulty:
            self._run.fault(self._layer, "switched auto-fix off")
        self._faulty = True
