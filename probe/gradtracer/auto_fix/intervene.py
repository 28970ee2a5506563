"""Auto-fix of one table: decides when rows are shrunk, has it done, and says so.

Which rows, and by how much: `choosing.py`.

Decisions fall at steps that depend on the training alone (every 256 steps, or when four times as
many look-ups came as the table has rows), so that the same seed gives the same run to the bit. On
the host they are made in the training's thread, at about 2 % of its time; on another device by the
reporting thread at its own times, as the training must not wait. Of several ranks the first one
decides in that thread, from what all have counted, and all begin at one step (`agreement.py`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import Optimizer

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_state import (
    TableState,
    merge_states,
    read_state,
    unpack_state,
)
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.agreement import Leader, Proposal
from gradtracer.auto_fix.choosing import eligible_rows, outcomes_of, reason_of, wanted_levels
from gradtracer.auto_fix.example_loss import ExampleLoss
from gradtracer.auto_fix.gate import LossGate
from gradtracer.auto_fix.holdout import Holdout, Rows
from gradtracer.auto_fix.hook import UNTOUCHED, RowScaler, Way, way_of
from gradtracer.auto_fix.telling import Telling
from gradtracer_schemas import MeasuredEffect, effect_in_words

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")

_STEPS = 256
_PASSES = 4
"""Look-ups of each row, on average, between two decisions."""


class AutoFix:
    """Streams an intervention and writes an audit line whenever something changes."""

    def __init__(
        self,
        run: Run,
        layer: str,
        weight: torch.Tensor,
        track_interval: int,
        *,
        on: bool = True,
        leader: Leader | None = None,
    ) -> None:
        settings = run.settings
        self.on = self.wanted = on
        self.scaler = RowScaler()
        self.gate = LossGate(without_loss=settings.auto_fix_rows == "named")
        self.holdout = Holdout(
            layer, weight.shape[0], holdout=settings.auto_fix_holdout, seed=settings.seed
        )
        self._telling = Telling(run, layer, weight.shape[0], self.holdout, self.gate)
        self._run, self._layer, self._interval = run, layer, track_interval
        self._leader = leader
        self._begun: deque[tuple[Proposal, Rows, int]] = deque()
        self._device = weight.device
        self._levels = np.full(weight.shape[0], UNTOUCHED, dtype=np.uint8)
        self._losses: ExampleLoss | None = None
        self._unmatched = False
        self._way = Way("update")
        self._optimizer: str = ""
        self._stopped = ""
        self._failed = False
        self._requests: deque[tuple[bool, str]] = deque()
        self._applying = threading.Lock()
        self._steps = 0
        self._next_step, self._next_look_ups = _STEPS, 0

    @property
    def audit(self) -> AutoFixAuditLogger:
        """Where it writes."""
        return self._telling.audit

    def request(self, on: bool, reason: str) -> None:
        """Turn it on or off from the next step on; from any thread."""
        self.wanted = on
        self._requests.append((on, reason))

    # In the training thread.

    def before_step(self, optimizer: Optimizer, weight: torch.Tensor) -> None:
        """The optimizer is about to step."""
        if type(optimizer).__name__ != self._optimizer:
            self._meet(optimizer)
        while self._requests:
            self._switch(*self._requests.popleft())
        if self.scaler.acts and self._way.scales != "nothing":
            self.scaler.before_step(weight, self._way.scales)

    def after_step(self, weight: torch.Tensor, observer: TableObserver, step: int) -> None:
        """It has taken the step of that number."""
        self.scaler.after_step(weight)
        self._steps += 1
        if self._leader is not None:
            if (begun := self._leader.reached(step)) is not None:
                if not self._failed:
                    self.scaler.use(begun.prepared)
                changed, self._levels = _differing(begun.levels, self._levels), begun.levels
                self._begun.append((begun, changed, self._run.step))
        elif self._device.type == "cpu" and self._due(observer.look_ups):
            observer.settle()
            self.decide(read_state(observer), weight)

    def _due(self, look_ups: int) -> bool:
        if self._steps < self._next_step or look_ups < self._next_look_ups:
            return False
        self._next_step = self._steps + _STEPS
        self._next_look_ups = look_ups + _PASSES * self._levels.size
        return True

    def take_loss(self, loss: Any, batch: Sequence[torch.Tensor]) -> None:
        """The loss of a step for the gate and, where it is per example, for the rows of `batch`."""
        self.gate.add(loss, self._run.step)
        if not isinstance(loss, torch.Tensor) or loss.numel() < 2:
            return
        if self._losses is None:
            self._losses = ExampleLoss(self._levels.size, loss.device)
        if not self._losses.add(loss, batch) and batch and not self._unmatched:
            self._unmatched = True
            _log.warning(
                "%s: a loss for each of %d examples does not fit the look-ups of the step, %s: "
                "only its mean is used",
                self._layer,
                loss.numel(),
                [list(ids.shape) for ids in batch],
            )

    def _meet(self, optimizer: Optimizer) -> None:
        self._optimizer, self._way = type(optimizer).__name__, way_of(optimizer)
        if self._way.reason:
            _log.warning("auto_fix of %s: %s", self._layer, self._way.reason)

    def _switch(self, on: bool, reason: str) -> None:
        with self._applying:
            if on == self.on and not (on and self._stopped):
                return
            self.on, self._stopped = on, ""
            if not on:
                self._set(np.full_like(self._levels, UNTOUCHED), "stop", f"turned off: {reason}")
                return
            self._set(self._levels, "wait", f"turned on: {reason}")

    # In the training's thread where one rank trains a table on the host, else in the reporting
    # thread.

    def report(self, observer: TableObserver, weight: torch.Tensor, final: bool) -> None:
        """Called at each report, in the reporting thread."""
        self._tell_begun()
        leader = self._leader
        if leader is not None and not final:
            if not self._stopped and leader.is_asked_to_stop():
                self.stop_in_all_ranks("another rank cannot scale its updates any more")
            if not leader.busy:
                others = [unpack_state(each) for each in self._run.ranks.of(self._layer)]
                self.decide(merge_states(read_state(observer), others), weight)
            leader.publish()
        elif self._device.type != "cpu" and not final:
            self.decide(read_state(observer), weight)
        self.audit.flush()

    def _tell_begun(self) -> None:
        while self._begun:
            begun, changed, step = self._begun.popleft()
            reason = f"{begun.reason}; in all ranks alike"
            tell = self._telling.note if begun.quietly else self._telling.say
            tell(begun.action, reason, changed, begun.levels, step)

    def decide(self, state: TableState, weight: torch.Tensor) -> None:
        """Look at what was measured, and set what holds from the next step on. O(N log N)."""
        if not self.on or self._stopped or state.counts.size != self._levels.size:
            return
        looked = self._look(state)
        if looked and (harm := self.holdout.harm) is not None:
            self._stop(harm)
            return
        eligible = eligible_rows(state, weight, self._run.settings)
        verdict = self.gate.verdict()
        acts = verdict.open and self._way.scales != "nothing"
        if acts:
            self._enrol(eligible, state)
        wanted = np.full_like(self._levels, UNTOUCHED)
        if acts and self.holdout.enrolled.any():
            floor = self._run.settings.auto_fix_floor
            wanted = wanted_levels(state, self.holdout, self._levels, floor)
        with self._applying:
            if not self.on or self._stopped:
                return
            treated = int((wanted < UNTOUCHED).sum())
            action = "shrink-updates" if treated else "wait"
            known = eligible.size > 0 or bool(self._telling.status)
            if known and (looked or self._telling.is_news(action, treated)):
                reason = reason_of(self._run.settings, eligible.size, verdict, self._way, treated)
                self._set(wanted, action, reason)
            else:
                words = self._telling.status, "factors followed the posterior"
                self._set(wanted, *words, quietly=True)

    def _enrol(self, eligible: Rows, state: TableState) -> None:
        fresh = eligible[~self.holdout.enrolled[eligible]]
        if fresh.size == 0:
            return
        measured = self.holdout.enrol(fresh)
        self.holdout.begin(measured, outcomes_of(measured, state, self._losses), self._steps)

    def _look(self, state: TableState) -> bool:
        rows = self.holdout.measured_rows
        if rows.size == 0:
            return False
        now = outcomes_of(rows, state, self._losses)
        return self.holdout.look(now, self._steps, interval=self._interval)

    def _set(
        self, wanted: npt.NDArray[np.uint8], action: str, reason: str, *, quietly: bool = False
    ) -> None:
        """Scale by `wanted` from the next step on, or from where all ranks do; and say so.

        `quietly`: in the audit alone, and only of rows whose factor changes.
        """
        if self._leader is not None and (self._leader.busy or (wanted != self._levels).any()):
            prepared = RowScaler.prepared(torch.from_numpy(wanted.copy()), self._device)
            self._leader.propose(Proposal(wanted, prepared, action, reason, quietly))
            return
        changed = self._apply(wanted)
        if not quietly:
            self._telling.say(action, reason, changed, self._levels, self._run.step)
        elif changed.size:
            self._telling.note(action, reason, changed, self._levels, self._run.step)

    def _apply(self, wanted: npt.NDArray[np.uint8]) -> Rows:
        """Scale by `wanted` from the next step on; the rows whose factor changes."""
        changed = _differing(wanted, self._levels)
        if changed.size:
            self._levels = wanted
            table = torch.from_numpy(wanted.copy())
            self.scaler.use(RowScaler.prepared(table, self._device))
        return changed

    def stop_in_all_ranks(self, reason: str) -> bool:
        """Scale nothing from a step on which all ranks agree. False where there is no other."""
        if self._leader is None:
            return False
        with self._applying:
            if not self._stopped:
                self._stopped = reason
                self._set(np.full_like(self._levels, UNTOUCHED), "stop", reason)
        return True

    def fail(self) -> None:
        """Scale no more in this rank, the first of several, and stop in all."""
        self._failed, self.scaler = True, RowScaler()
        self.stop_in_all_ranks("the first rank cannot scale its updates any more")

    def _stop(self, harm: MeasuredEffect) -> None:
        with self._applying:
            self._stopped = (
                f"it does harm: {effect_in_words(harm)} in the treated rows against those held out"
            )
            self._set(np.full_like(self._levels, UNTOUCHED), "stop", self._stopped)
        _log.warning("auto_fix of %s has switched itself off: %s", self._layer, self._stopped)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: arms, looks, gate, factors."""
        return {
            "on": self.on,
            "stopped": self._stopped,
            "levels": self._levels.copy(),
            **self._telling.state_dict(),
            "holdout": self.holdout.state_dict(),
            "gate": self.gate.state_dict(),
            "losses": None if self._losses is None else self._losses.state_dict(),
            "steps": (self._steps, self._next_step, self._next_look_ups),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        self.holdout.load_state_dict(state["holdout"])
        self.gate.load_state_dict(state["gate"])
        if state["losses"] is not None:
            self._losses = ExampleLoss(self._levels.size, self._device)
            self._losses.load_state_dict(state["losses"])
        self.on = self.wanted = bool(state["on"])
        self._stopped = str(state["stopped"])
        self._telling.load_state_dict(state)
        self._steps, self._next_step, self._next_look_ups = state["steps"]
        with self._applying:
            if self._leader is None:
                self._apply(state["levels"].copy())
            else:
                self._set(state["levels"].copy(), self._telling.status, "resumed", quietly=True)


def _differing(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Rows:
    return np.flatnonzero(one != other)
