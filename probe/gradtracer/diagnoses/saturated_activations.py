"""SATURATED_ACTIVATIONS: units that hardly pass a gradient (statistics/saturation.py)."""

from __future__ import annotations

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses import exploding_updates
from gradtracer.diagnoses.finding import MAX_SAMPLE, Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer, Rows

_MIN_UNITS = 8


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise when more than `saturated_unit_share` of the units is saturated, at 95 %.

    Where the layer's updates exploded, that is what drove them there, and the remedy is its.
    """
    seen = figures.saturation
    if seen is None or seen.units < _MIN_UNITS:
        return None
    confidence = seen.probability_above(settings.saturated_unit_share)
    if confidence < 0.95:
        return None
    cause = exploding_updates.examine(figures, settings)
    name = seen.activation.lower()
    own = [
        FixOffer(fix="insert-normalisation", preferred=cause is None),
        FixOffer(fix="replace-activation", parameters={"from": seen.activation, "to": "GELU"}),
    ]
    return Finding(
        type="SATURATED_ACTIVATIONS",
        severity="warning",
        confidence=confidence,
        premise=(
            f"{many(seen.share * seen.units, 'unit')} of {seen.units:,} passed less than "
            f"{settings.saturated_slope:.0%} of the gradient that their {name} passes at its "
            f"centre, on average over the last {seen.looks} batches looked at; the layer as a "
            f"whole {seen.passed:.1%}."
        ),
        implies=(
            "Their inputs lie so far from zero that the weights of this layer, and of those "
            "before it, learn at a small part of their pace."
        ),
        action=cause.action
        if cause is not None
        else (
            f"Normalise before the {name} (nn.LayerNorm), bring the layer's inputs to unit scale, "
            "or begin with smaller weights (nn.init.xavier_uniform_). Or use GELU or ReLU instead."
        ),
        expected_effect="Gradients that reach this layer and those before it at their full size.",
        risk=(
            "A normalisation or another activation makes another model: train it anew. GELU has no "
            "bound and passes large values on."
        ),
        evidence=[
            Evidence(
                statistic="saturated_share",
                value=seen.share,
                threshold=settings.saturated_unit_share,
                comparison="above",
                n=seen.looks,
                interval=seen.interval,
                test="Student t over batches, share of units with a slope below the limit",
            )
        ],
        rows=Rows(
            count=int(seen.saturated.size),
            of=seen.units,
            sample=[int(unit) for unit in seen.saturated[:MAX_SAMPLE]],
        ),
        fixes=[*(cause.fixes[:-1] if cause is not None else ()), *own, suppress()],
    )
