"""Auto-fix of one layer: decides at each report which rows are shrunk, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.analyzers.table_observer import Treatment
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.shrinkage import Arms, split_arms, treatment
from gradtracer.diagnoses.finding import MAX_SAMPLE
from gradtracer_schemas import Intervention, InterventionEvent

if TYPE_CHECKING:
    from gradtracer.run import Run


class AutoFix:
    """Streams an intervention and writes an audit line whenever the set of rows changes."""

    def __init__(self, run: Run, layer: str) -> None:
        self.audit = AutoFixAuditLogger(run.id, run.root)
        self._run = run
        self._layer = layer
        self._arms: Arms | None = None

    def treat(self, figures: TableFigures, weight: torch.Tensor) -> Treatment | None:
        """What the observer is to apply from now on."""
        settings = self._run.settings
        arms = split_arms(figures, holdout=settings.auto_fix_holdout, seed=settings.seed)
        before = np.zeros(0) if self._arms is None else self._arms.treated
        if not np.array_equal(arms.treated, before):
            self._say(arms, figures.zombies.rows.size)
        self._arms = arms
        return treatment(arms, weight)

    def _say(self, arms: Arms, named: int) -> None:
        settings = self._run.settings
        rows: list[int] = arms.treated.tolist()
        self._run.emit(
            InterventionEvent,
            Intervention(
                layer=self._layer,
                action="shrink-updates" if rows else "stop",
                rows=len(rows),
                held_out=int(arms.held_out.size),
                holdout=settings.auto_fix_holdout,
                seed=settings.seed,
                mean_scale=float(arms.scales.mean()) if rows else 1.0,
                reason=f"ZOMBIE_EMBEDDINGS names {named:,} rows",
                sample=rows[:MAX_SAMPLE],
            ),
        )
        self.audit.log_intervention(
            self._run.step,
            self._layer,
            "zombie_penalty",
            rows,
            [round(scale, 4) for scale in arms.scales.tolist()],
            held_out=arms.held_out.tolist(),
            seed=settings.seed,
        )
