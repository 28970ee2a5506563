"""DEAD_NEURONS: output units that receive no gradient (statistics/unit_activity.py)."""

from __future__ import annotations

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses import exploding_updates, saturated_activations
from gradtracer.diagnoses.finding import MAX_SAMPLE, Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer, Rows

_MIN_UNITS = 8


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise when more than `dead_unit_share` of the units is dead, with 95 % confidence.

    Where the layer's updates exploded, that is what switched them off, and the remedy is its. Units
    that a tanh or sigmoid switched off are SATURATED_ACTIVATIONS' to tell.
    """
    dead = figures.dead
    if dead is None or dead.units < _MIN_UNITS:
        return None
    limit = settings.dead_unit_share * dead.units
    confidence = dead.unseen.confidence_above(limit)
    if confidence < 0.95 or saturated_activations.examine(figures, settings) is not None:
        return None
    share = dead.unseen.dead / dead.units
    cause = exploding_updates.examine(figures, settings)
    activation = FixOffer(
        fix="replace-activation", parameters={"to": "LeakyReLU"}, preferred=cause is None
    )
    return Finding(
        type="DEAD_NEURONS",
        severity="warning",
        confidence=confidence,
        premise=(
            f"{many(dead.unseen.unseen, 'unit')} of {dead.units:,} received no gradient in any of "
            f"the last {dead.steps:,} tracked steps: each is active in fewer than "
            f"{3 / dead.steps:.1%} of the batches (95 %)."
        ),
        implies=(
            "Behind a rectifier such as ReLU they are off for every example and cannot come back: "
            "the layer is as good as one of "
            f"{many(dead.units - dead.unseen.unseen, 'unit')}."
            if dead.unseen.unseen < dead.units
            else "Behind a rectifier such as ReLU this layer, or one after it, is off for every "
            "example and cannot come back: the model learns without it."
        ),
        action=cause.action
        if cause is not None
        else (
            "Lower the learning rate or the bias that pushed them off, normalise the layer's "
            "inputs, use LeakyReLU or GELU, or make the layer narrower."
        ),
        expected_effect=f"About {share:.0%} more units at work, or as many fewer to compute.",
        risk="Outputs that the loss leaves out on purpose (masks, unused heads) look the same.",
        evidence=[
            Evidence(
                statistic="dead_units",
                value=dead.unseen.dead,
                threshold=limit,
                comparison="above",
                n=dead.steps,
                unit="units",
                interval=dead.unseen.interval,
                test="rule of three; smoothed Good-Toulmin estimate of the units to come",
            )
        ],
        rows=Rows(
            count=dead.unseen.unseen,
            of=dead.units,
            sample=[int(unit) for unit in dead.silent[:MAX_SAMPLE]],
        ),
        fixes=[*(cause.fixes[:-1] if cause is not None else ()), activation, suppress()],
    )
