"""Auto-fix of one table: decides which rows are shrunk and by how much, and says so.

Decisions fall at steps that depend on the training alone (every 256 steps, or when four times as
many look-ups came as the table has rows), so that the same seed gives the same run to the bit. On
the host they are made in the training's thread, at about 2 % of its time; on another device by the
reporting thread at its own times, as the training must not wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import Optimizer

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_state import TableState, read_state
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.example_loss import ExampleLoss
from gradtracer.auto_fix.gate import LossGate, Verdict
from gradtracer.auto_fix.holdout import Holdout, Outcomes, Rows
from gradtracer.auto_fix.hook import UNTOUCHED, RowScaler, Way, way_of
from gradtracer.auto_fix.posterior import levels, ready_rows, signal_share
from gradtracer.diagnoses.finding import MAX_SAMPLE
from gradtracer.statistics.zombie_rows import zombie_rows
from gradtracer.version import __version__
from gradtracer_schemas import (
    AuditLine,
    Intervention,
    InterventionEvent,
    MeasuredEffect,
    effect_in_words,
    pack_levels,
    pack_rows,
)

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")

_STEPS = 256
_PASSES = 4
"""Look-ups of each row, on average, between two decisions."""
_COARSE = 16
"""A factor is left as it is until it should change by a sixteenth."""
_GREW = 1.1
"""The stream is told anew when the treated rows have grown or shrunk by so much."""
_EXPECTED = "noise energy lower, update efficiency higher, loss no higher than in rows held out"


class AutoFix:
    """Streams an intervention and writes an audit line whenever something changes."""

    def __init__(
        self, run: Run, layer: str, weight: torch.Tensor, track_interval: int, *, on: bool = True
    ) -> None:
        settings = run.settings
        self.audit = AutoFixAuditLogger(run.id, run.root)
        self.on = self.wanted = on
        self.scaler = RowScaler()
        self.gate = LossGate(without_loss=settings.auto_fix_rows == "named")
        self.holdout = Holdout(
            layer, weight.shape[0], holdout=settings.auto_fix_holdout, seed=settings.seed
        )
        self.status = ""
        """Action of the latest event; empty before the first."""
        self._run, self._layer, self._interval = run, layer, track_interval
        self._device = weight.device
        self._levels = np.full(weight.shape[0], UNTOUCHED, dtype=np.uint8)
        self._losses: ExampleLoss | None = None
        self._unmatched = False
        self._way = Way("update")
        self._optimizer: str = ""
        self._stopped = ""
        self._said_rows = 0
        self._said_held = np.zeros(weight.shape[0], dtype=np.bool_)
        self._requests: deque[tuple[bool, str]] = deque()
        self._applying = threading.Lock()
        self._steps = 0
        self._next_step, self._next_look_ups = _STEPS, 0

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

    def after_step(self, weight: torch.Tensor, observer: TableObserver) -> None:
        """It has stepped."""
        self.scaler.after_step(weight)
        self._steps += 1
        if self._device.type == "cpu" and self._due(observer.look_ups):
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
                changed = self._apply(np.full_like(self._levels, UNTOUCHED))
                self._say("stop", f"turned off: {reason}", changed)
                return
            self._say("wait", f"turned on: {reason}", np.zeros(0, dtype=np.int64))

    # In the training's thread where the table is on the host, else in the reporting thread.

    def report(self, observer: TableObserver, weight: torch.Tensor, final: bool) -> None:
        """Called at each report, in the reporting thread."""
        if self._device.type != "cpu" and not final:
            self.decide(read_state(observer), weight)
        self.audit.flush()

    def decide(self, state: TableState, weight: torch.Tensor) -> None:
        """Look at what was measured, and set what holds from the next step on. O(N log N)."""
        if not self.on or self._stopped or state.counts.size != self._levels.size:
            return
        looked = self._look(state)
        if looked and (harm := self.holdout.harm) is not None:
            self._stop(harm)
            return
        eligible = self._eligible(state, weight)
        verdict = self.gate.verdict()
        acts = verdict.open and self._way.scales != "nothing"
        if acts:
            self._enrol(eligible, state)
        wanted = np.full_like(self._levels, UNTOUCHED)
        if acts and self.holdout.enrolled.any():
            wanted = self._wanted(state)
        with self._applying:
            if not self.on:
                return
            changed = self._apply(wanted)
            treated = int((self._levels < UNTOUCHED).sum())
            action = "shrink-updates" if treated else "wait"
            grew = max(treated, self._said_rows) > _GREW * min(treated, self._said_rows)
            known = eligible.size > 0 or bool(self.status)
            if known and (action != self.status or grew or looked):
                self._say(action, self._reason(eligible.size, verdict, treated), changed)
            elif changed.size:
                self._audit(self.status, "factors followed the posterior", changed)

    def _eligible(self, state: TableState, weight: torch.Tensor) -> Rows:
        settings = self._run.settings
        if settings.auto_fix_rows == "all":
            return np.flatnonzero(ready_rows(state.exposures, state.energy, state.noise))
        wide = torch.promote_types(weight.dtype, torch.float32)
        norm = torch.linalg.vector_norm(weight.detach(), dim=1, dtype=wide).square_()
        return np.sort(
            zombie_rows(
                state.counts,
                state.exposures,
                state.energy,
                state.noise,
                state.agreement,
                norm.cpu().numpy(),
                noise_fdr=settings.zombie_fdr,
                oscillation_fdr=settings.oscillation_fdr,
            ).rows
        )

    def _outcomes(self, rows: Rows, state: TableState) -> Outcomes:
        with np.errstate(divide="ignore"):
            noise = np.log(state.noise[rows].astype(np.float64))
        efficiency = 0.5 + 0.5 * state.agreement[rows].astype(np.float64)
        return Outcomes(
            {"noise_energy": noise, "update_efficiency": efficiency},
            state.counts[rows].astype(np.int64),
            None if self._losses is None else self._losses.totals(rows),
        )

    def _enrol(self, eligible: Rows, state: TableState) -> None:
        fresh = eligible[~self.holdout.enrolled[eligible]]
        if fresh.size == 0:
            return
        measured = self.holdout.enrol(fresh)
        self.holdout.begin(measured, self._outcomes(measured, state), self._steps)

    def _look(self, state: TableState) -> bool:
        rows = self.holdout.measured_rows
        if rows.size == 0:
            return False
        now = self._outcomes(rows, state)
        return self.holdout.look(now, self._steps, interval=self._interval)

    def _wanted(self, state: TableState) -> npt.NDArray[np.uint8]:
        enrolled = np.flatnonzero(self.holdout.enrolled)
        treated = enrolled[~self.holdout.held_out(enrolled)]
        share = signal_share(state.counts, state.exposures, state.energy, state.noise)
        wanted = np.full_like(self._levels, UNTOUCHED)
        wanted[treated] = levels(share[treated], self._run.settings.auto_fix_floor)
        near = np.abs(wanted.astype(np.int16) - self._levels) < _COARSE
        return np.where(near, self._levels, wanted)

    def _apply(self, wanted: npt.NDArray[np.uint8]) -> Rows:
        """Scale by `wanted` from the next step on; the rows whose factor changes."""
        changed = np.flatnonzero(wanted != self._levels)
        if changed.size:
            self._levels = wanted
            acts = bool((wanted < UNTOUCHED).any())
            table = torch.from_numpy(wanted.copy()).to(self._device) if acts else None
            self.scaler.scale(table)
        return changed

    def _stop(self, harm: MeasuredEffect) -> None:
        with self._applying:
            self._stopped = (
                f"it does harm: {effect_in_words(harm)} in the treated rows against those held out"
            )
            changed = self._apply(np.full_like(self._levels, UNTOUCHED))
            self._say("stop", self._stopped, changed)
        _log.warning("auto_fix of %s has switched itself off: %s", self._layer, self._stopped)

    def _reason(self, eligible: int, verdict: Verdict, treated: int) -> str:
        settings = self._run.settings
        named = settings.auto_fix_rows == "named"
        parts = [
            f"ZOMBIE_EMBEDDINGS names {eligible:,} rows"
            if named
            else f"{eligible:,} rows are known well enough",
            verdict.reason,
        ]
        if self._way.reason:
            parts.append(self._way.reason)
        if settings.auto_fix_holdout == 0:
            parts.append("nothing is held out, so that its effect is not measured")
        elif settings.auto_fix_holdout == 1 and not treated:
            parts.append("all rows are held out, so that nothing is treated")
        return "; ".join(parts)

    def _say(self, action: str, reason: str, changed: Rows) -> None:
        settings, effects = self._run.settings, self.holdout.effects
        self.status = action
        treated = np.flatnonzero(self._levels < UNTOUCHED)
        self._said_rows = treated.size
        enrolled = np.flatnonzero(self.holdout.enrolled)
        self._run.emit(
            InterventionEvent,
            Intervention(
                layer=self._layer,
                action=action,
                rows=int(treated.size),
                held_out=int(self.holdout.held_out(enrolled).sum()),
                holdout=settings.auto_fix_holdout,
                seed=settings.seed,
                mean_scale=_mean_factor(self._levels[treated]),
                reason=reason,
                sample=treated[:MAX_SAMPLE].tolist(),
                effect=_telling(effects),
                effects=effects,
                expected=_EXPECTED if treated.size else "",
                improving=self.gate.verdict().improving,
            ),
        )
        self._audit(action, reason, changed)

    def _audit(self, action: str, reason: str, changed: Rows) -> None:
        settings = self._run.settings
        enrolled = self.holdout.enrolled
        held = np.zeros_like(enrolled)
        rows = np.flatnonzero(enrolled)
        held[rows] = self.holdout.held_out(rows)
        self.audit.note(
            AuditLine(
                timestamp=datetime.now(UTC).isoformat(),
                run_id=self._run.id,
                step=self._run.step,
                layer=self._layer,
                type="shrink-updates",
                action=action,
                num_affected=int(changed.size),
                scale_applied=_mean_factor(self._levels[changed]),
                indices_sample=changed[:10].tolist(),
                rows=pack_rows(changed.tolist()),
                levels=pack_levels(self._levels[changed].tobytes()),
                held_out=pack_rows(np.flatnonzero(held & ~self._said_held).tolist()),
                held_out_rows=int(held.sum()),
                treated_rows=int((self._levels < UNTOUCHED).sum()),
                treated_scale=_mean_factor(self._levels[self._levels < UNTOUCHED]),
                holdout=settings.auto_fix_holdout,
                seed=settings.seed,
                code_version=__version__,
                reason=reason,
                effects=self.holdout.effects,
            )
        )
        self._said_held = held

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: arms, looks, gate, factors."""
        return {
            "on": self.on,
            "stopped": self._stopped,
            "status": self.status,
            "levels": self._levels.copy(),
            "held": self._said_held.copy(),
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
        self.status, self._said_held = str(state["status"]), state["held"].copy()
        self._steps, self._next_step, self._next_look_ups = state["steps"]
        with self._applying:
            self._apply(state["levels"].copy())


def _mean_factor(levels: npt.NDArray[np.uint8]) -> float:
    return float(levels.mean()) / UNTOUCHED if levels.size else 1.0


def _telling(effects: list[MeasuredEffect]) -> MeasuredEffect | None:
    """The one that lies farthest from zero, in units of its interval."""

    def distance(effect: MeasuredEffect) -> float:
        low, high = effect.interval
        return abs(effect.difference) / (high - low) if high > low else 0.0

    return max(effects, key=distance, default=None)
