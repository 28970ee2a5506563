"""What auto-fix of one table says: interventions in the stream, lines in the audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.gate import LossGate
from gradtracer.auto_fix.holdout import Holdout, Rows
from gradtracer.auto_fix.hook import UNTOUCHED
from gradtracer.diagnoses.finding import MAX_SAMPLE
from gradtracer.version import __version__
from gradtracer_schemas import (
    AuditLine,
    Intervention,
    InterventionEvent,
    MeasuredEffect,
    pack_levels,
    pack_rows,
)

if TYPE_CHECKING:
    from gradtracer.run import Run

Factors = npt.NDArray[np.uint8]

_GREW = 1.1
"""The stream is told anew when the treated rows have grown or shrunk by so much."""
_EXPECTED = "noise energy lower, update efficiency higher, loss no higher than in rows held out"


class Telling:
    """Says what changed, and remembers what was said.

    Args:
        run: whose stream and audit.
        layer: the table's name.
        rows: N.
        holdout: its arms and effects.
        gate: what it makes of the loss.
    """

    def __init__(self, run: Run, layer: str, rows: int, holdout: Holdout, gate: LossGate) -> None:
        self.audit = AutoFixAuditLogger(run.id, run.root)
        self.status = ""
        """Action of the latest event; empty before the first."""
        self._run, self._layer, self._holdout, self._gate = run, layer, holdout, gate
        self._rows = 0
        self._held = np.zeros(rows, dtype=np.bool_)

    def is_news(self, action: str, treated: int) -> bool:
        """Whether the stream has to hear that so many rows are treated."""
        grew = max(treated, self._rows) > _GREW * min(treated, self._rows)
        return action != self.status or grew

    def say(self, action: str, reason: str, changed: Rows, levels: Factors, step: int) -> None:
        """Stream and audit what holds after `step`: `levels` `[N]`, of which `changed` are new."""
        settings, effects = self._run.settings, self._holdout.effects
        self.status = action
        treated = np.flatnonzero(levels < UNTOUCHED)
        self._rows = treated.size
        enrolled = np.flatnonzero(self._holdout.enrolled)
        self._run.emit(
            InterventionEvent,
            Intervention(
                layer=self._layer,
                action=action,
                rows=int(treated.size),
                held_out=int(self._holdout.held_out(enrolled).sum()),
                holdout=settings.auto_fix_holdout,
                seed=settings.seed,
                mean_scale=_mean_factor(levels[treated]),
                reason=reason,
                sample=treated[:MAX_SAMPLE].tolist(),
                effect=_telling(effects),
                effects=effects,
                expected=_EXPECTED if treated.size else "",
                improving=self._gate.verdict().improving,
            ),
        )
        self.note(action, reason, changed, levels, step)

    def note(self, action: str, reason: str, changed: Rows, levels: Factors, step: int) -> None:
        """The same for the audit alone."""
        settings = self._run.settings
        enrolled = self._holdout.enrolled
        held = np.zeros_like(enrolled)
        rows = np.flatnonzero(enrolled)
        held[rows] = self._holdout.held_out(rows)
        treated = levels[levels < UNTOUCHED]
        self.audit.note(
            AuditLine(
                timestamp=datetime.now(UTC).isoformat(),
                run_id=self._run.id,
                step=step,
                layer=self._layer,
                type="shrink-updates",
                action=action,
                num_affected=int(changed.size),
                scale_applied=_mean_factor(levels[changed]),
                indices_sample=changed[:10].tolist(),
                rows=pack_rows(changed.tolist()),
                levels=pack_levels(levels[changed].tobytes()),
                held_out=pack_rows(np.flatnonzero(held & ~self._held).tolist()),
                held_out_rows=int(held.sum()),
                treated_rows=int(treated.size),
                treated_scale=_mean_factor(treated),
                holdout=settings.auto_fix_holdout,
                seed=settings.seed,
                code_version=__version__,
                reason=reason,
                effects=self._holdout.effects,
            )
        )
        self._held = held

    def state_dict(self) -> dict[str, Any]:
        """What was said."""
        return {"status": self.status, "held": self._held.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        self.status, self._held = str(state["status"]), state["held"].copy()


def _mean_factor(levels: Factors) -> float:
    return float(levels.mean()) / UNTOUCHED if levels.size else 1.0


def _telling(effects: list[MeasuredEffect]) -> MeasuredEffect | None:
    """The one that lies farthest from zero, in units of its interval."""

    def distance(effect: MeasuredEffect) -> float:
        low, high = effect.interval
        return abs(effect.difference) / (high - low) if high > low else 0.0

    return max(effects, key=distance, default=None)
