"""STALE_GRADIENTS: gradients of earlier steps are added to each step's own (kept_gradients.py)."""

from __future__ import annotations

from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer

_SHARE = 0.9
_LEAST_STEPS = 64
_ALIKE = 0.8


def examine(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise when nine in ten steps found all gradients of the steps before still there."""
    del settings
    kept = figures.kept
    if kept is None or kept.of < _LEAST_STEPS or kept.alike < _ALIKE:
        return None
    # Of steps that are all alike no fewer than nine in ten are, but by this chance.
    p = _SHARE**kept.of
    if kept.steps < kept.of * _SHARE or p >= 0.05:
        return None
    return Finding(
        type="STALE_GRADIENTS",
        severity="error",
        confidence=1.0 - p,
        premise=(
            f"In {kept.steps:,} of {kept.of:,} steps looked at, nothing cleared the gradients: "
            "backward() added to those of all steps before."
        ),
        implies=(
            "A step follows the sum of all gradients so far, most of which belong to weights that "
            "are long gone; rows move without an example."
        ),
        action="Call optimizer.zero_grad() once for each step, before backward() or after step().",
        expected_effect="Steps along the gradient of their own batch.",
        risk="The learning rate may have been chosen for the sums: look for it anew.",
        evidence=[
            Evidence(
                statistic="kept_gradient_steps",
                value=kept.steps,
                threshold=_SHARE * kept.of,
                comparison="above",
                n=kept.of,
                unit="steps",
                p_value=p,
                test="binomial, share of steps that wrote their gradient to those before",
            )
        ],
        fixes=[FixOffer(fix="clear-gradients", preferred=True), suppress()],
    )
