"""ZOMBIE_EMBEDDINGS: rows whose updates are noise or alternation (statistics/zombie_rows.py)."""

from __future__ import annotations

import msgspec
import numpy as np

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import MAX_SAMPLE, Finding, many, suppress
from gradtracer.diagnoses.learning_rate import reduce_rate, settled_rate
from gradtracer.diagnoses.weight_decay import written
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer, Rows


def examine(figures: TableFigures, settings: Settings) -> Finding | None:
    """Raise when the tests name any row."""
    verdict = figures.zombies
    named = int(verdict.rows.size)
    if named == 0:
        return None
    fixes = _fixes(figures)
    rate = next((fix for fix in fixes if fix.fix == "reduce-learning-rate"), None)
    to = "" if rate is None else f" to {written(rate.parameters['lr'])}"
    oscillating = int(verdict.oscillating.sum())
    expected_false = float(np.mean(verdict.q_values))
    kinds: list[str] = []
    if oscillating:
        kinds.append(f"alternating in direction: {oscillating:,}")
    if named - oscillating:
        kinds.append(f"far noisier than rows as often seen: {named - oscillating:,}")
    return Finding(
        type="ZOMBIE_EMBEDDINGS",
        severity="warning",
        # The adjusted p-values bound the expected share of wrong names in the list.
        confidence=1.0 - expected_false,
        premise=(
            f"{many(named, 'row')} of {verdict.tested:,} tested moving much and getting nowhere "
            f"({', '.join(kinds)})."
        ),
        implies=(
            "Their updates cancel or follow contradictory examples: merged ids, random labels, or "
            "a step size too large for these rows."
        ),
        action=(
            "Look at the examples behind the named rows. If they alternate, lower the learning "
            f"rate of this table{to}; "
            + (
                "auto_fix is shrinking the updates of these rows already."
                if figures.auto_fix
                else "auto_fix=True shrinks the updates of these rows alone."
            )
        ),
        expected_effect=(
            "Smaller steps on the named rows, other rows untouched. Expect little change in "
            "overall quality when the rows are few or the labels themselves are noise."
        ),
        risk="Shrinking slows rows that were learning after all; a held-out share is left alone.",
        evidence=[
            Evidence(
                statistic="zombie_rows",
                value=named,
                threshold=0,
                comparison="above",
                n=verdict.tested,
                unit="rows",
                p_value=float(np.min(verdict.q_values)),
                test=(
                    "noise energy against peers (Student t, 30 df) and oscillation (Fisher z), "
                    "Benjamini-Hochberg"
                ),
            )
        ],
        rows=Rows(
            count=named, of=verdict.tested, sample=[int(r) for r in verdict.rows[:MAX_SAMPLE]]
        ),
        fixes=fixes,
    )


def _fixes(figures: TableFigures) -> list[FixOffer]:
    """Where most named rows alternate under plain gradient steps, their own curvature says how far
    the step is too large; for other rows shrinking them alone is what the test supports.
    """
    optimizer, verdict = figures.optimizer, figures.zombies
    fixes = [suppress()]
    if not figures.auto_fix:
        fixes.insert(0, FixOffer(fix="enable-auto-fix"))
    if (
        optimizer is not None
        and optimizer.base_lr > 0
        and verdict.alternating_rho is not None
        and 2 * verdict.oscillating.sum() > verdict.rows.size
    ):
        lr = settled_rate(optimizer, verdict.alternating_rho)
        if lr < optimizer.base_lr:
            table = f"{figures.layer}.weight"
            offer = reduce_rate(optimizer, lr, parameters=table)
            fixes.insert(0 if not optimizer.adaptive else len(fixes) - 1, offer)
    first, *rest = fixes
    preferred = msgspec.structs.replace(first, preferred=first.fix != "suppress")
    return [preferred, *rest]
