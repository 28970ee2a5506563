"""NON_FINITE: gradients or weights that are not numbers any more."""

from __future__ import annotations

import math

from scipy import stats

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.step_history import Column
from gradtracer_schemas import Evidence


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise for a layer as soon as one tracked gradient is not finite."""
    del settings
    broken = len(figures.ends) > 0 and not math.isfinite(float(figures.ends[-1, 1]))
    return _finding(int(figures.total(Column.NONFINITE)), figures.steps, weights_broken=broken)


def examine_table(figures: TableFigures, settings: Settings) -> Finding | None:
    """The same for an embedding table."""
    del settings
    return _finding(figures.nonfinite_steps, figures.steps, weights_broken=False)


def _finding(count: int, steps: int, *, weights_broken: bool) -> Finding | None:
    if count == 0 or steps == 0:
        return None
    low = float(stats.beta.ppf(0.025, count, steps - count + 1))
    high = 1.0 if count == steps else float(stats.beta.ppf(0.975, count + 1, steps - count))
    ended = " The weights themselves are not finite any more." if weights_broken else ""
    return Finding(
        type="NON_FINITE",
        severity="error",
        # P(no such step | the rate is zero): what was seen cannot have come from finite values.
        confidence=float(stats.binom.cdf(count - 1, steps, 0.0)),
        premise=(
            f"In {count:,} of {steps:,} tracked steps the gradient held values that are not finite."
            f"{ended}"
        ),
        implies=(
            "An infinite or undefined value spreads to every weight that a step reaches, and from "
            "there to all outputs."
            if not weights_broken
            else "Nothing that this model computes can be used; training cannot recover by itself."
        ),
        action=(
            "Find the first operation that yields it with torch.autograd.set_detect_anomaly(True). "
            "Usual causes: a learning rate too high, log or division of zero, half precision "
            "without a GradScaler. Go back to a checkpoint from before."
        ),
        expected_effect="Finite gradients at every step.",
        risk="Anomaly detection slows training; use it to look, then switch it off.",
        evidence=[
            Evidence(
                statistic="grad_nonfinite",
                value=count,
                threshold=0,
                comparison="above",
                n=steps,
                unit="steps",
                interval=(low * steps, high * steps),
                test="Clopper-Pearson, steps with such a value",
            )
        ],
        fixes=[suppress()],
    )
