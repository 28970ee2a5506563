"""Auto-fix of a tracked table, on or off; what fails in it switches it off and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.intervene import AutoFix
from gradtracer.ranks import place_among_ranks

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")


class AutoFixSwitch:
    """Holds the auto-fix of one table, once there was one."""

    def __init__(self, run: Run, layer: str, track_interval: int) -> None:
        self.current: AutoFix | None = None
        self._run, self._layer, self._interval = run, layer, track_interval

    @property
    def on(self) -> bool:
        """Whether it is on, or will be at the next step."""
        return self.current is not None and self.current.wanted

    @property
    def audit(self) -> AutoFixAuditLogger | None:
        """Where it writes; None where it never was on."""
        return self.current.audit if self.current is not None else None

    def turn(self, on: bool, weight: torch.Tensor, *, reason: str) -> bool:
        """Turn it on or off from the next step on, from any thread; whether it will be so.

        Without a `reason` it is the script's own setting, which need not be told.
        """
        if on and place_among_ranks().world_size > 1:
            _log.warning(
                "auto_fix is off for %s: its rows are trained by several ranks, whose copies must "
                "stay alike; take auto_fix=True out, or train in one process",
                self._layer,
            )
            return False
        if self.current is None and on:
            self.current = AutoFix(self._run, self._layer, weight, self._interval, on=not reason)
        if self.current is not None and reason:
            self.current.request(on, reason)
        return True

    def replaced(self, weight: torch.Tensor) -> None:
        """The table is another one: begin anew."""
        on, self.current = self.on, None
        if on:
            self.turn(True, weight, reason="its weight was replaced or moved")

    def before_step(self, optimizer: Optimizer, weight: torch.Tensor) -> None:
        """The optimizer is about to step."""
        if self.current is not None:
            self._guarded(self.current.before_step, optimizer, weight)

    def after_step(self, weight: torch.Tensor, observer: TableObserver) -> None:
        """It has stepped."""
        if self.current is not None:
            self._guarded(self.current.after_step, weight, observer)

    def take_loss(self, loss: Any, observer: TableObserver) -> None:
        """The training tells its loss."""
        if self.current is not None:
            self._guarded(self.current.take_loss, loss, observer.batch)

    def report(self, weight: torch.Tensor, observer: TableObserver, *, final: bool) -> None:
        """In the reporting thread."""
        if self.current is not None:
            self._guarded(self.current.report, observer, weight, final)

    def end(self) -> None:
        """Nothing is observed any more."""
        if self.current is not None:
            self.current.audit.flush()
        self.current = None

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
            self.current = None
            self._run.fault(self._layer, "switched auto-fix off")
