"""NON_FINITE: gradients, weights or a loss that are not numbers any more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from gradtracer.analyzers.layer_figures import LayerFigures, Origin
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.step_history import Column
from gradtracer_schemas import Evidence, FixOffer


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise for the layer where such gradients began, as soon as one step had one.

    The others, whose gradients it reached, are counted in its premise and say nothing themselves.
    """
    del settings
    if figures.origin is None:
        return None
    broken = len(figures.ends) > 0 and not math.isfinite(float(figures.ends[-1, 1]))
    followed = int(figures.total(Column.NONFINITE))
    # A step between two bursts is noticed too, and not among those followed.
    between = 0 if followed else 1
    return _finding(
        max(followed, 1),
        figures.steps + between,
        f"{_where(figures.origin)}.{_broken(broken)}",
        broken,
        offers=_offers(figures),
    )


def _offers(figures: LayerFigures) -> list[FixOffer]:
    """Clipping helps where gradients grew before they overflowed: its limit is the usual norm."""
    if figures.model.gradient_norm <= 0:
        return []
    norm = float(f"{figures.model.gradient_norm:.1g}")
    return [FixOffer(fix="clip-gradients", parameters={"max_norm": norm})]


def examine_table(figures: TableFigures, settings: Settings) -> Finding | None:
    """The same for an embedding table, which counts its own.

    Nothing where a layer's gradient broke no later: a backward pass carries such values on towards
    the tables, and the layer speaks.
    """
    del settings
    count, steps = figures.nonfinite_steps, figures.steps
    if count == 0 or steps == 0 or 0 <= figures.layers_broke <= figures.first_nonfinite:
        return None
    premise = f"In {count:,} of {steps:,} tracked steps the gradient held values that are not"
    return _finding(count, steps, f"{premise} finite.", False)


def examine_loss(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise for a loss that was told and is no number, while gradients still were.

    Nothing where they broke no later: then the layer speaks, and says that it came from the loss.
    """
    del settings
    told = figures.not_numbers
    if told is None or 0 <= figures.broke <= told.step:
        return None
    premise = (
        f"In {told.times:,} of the {told.of:,} values of the loss that were told it is not finite, "
        f"for the first time after {many(told.step, 'step')}, while no gradient had such a value."
    )
    found = _finding(told.times, told.of, premise, False, statistic="loss_nonfinite")
    return found._replace(
        implies=(
            "The loss that is told is not the one whose gradients train the model, or it was "
            "undefined in a batch that left no trace. Its curve and its mean cannot be used."
        ),
        action=(
            "Look what goes into the mean that is told: an empty batch (a mean over no example), a "
            "mask that leaves nothing, a logarithm or division of zero, or a batch that the "
            "GradScaler skipped. Leave such values out on purpose, or mend them."
        ),
        expected_effect="A loss that is finite whenever it is told.",
        risk="None.",
    )


def _where(origin: Origin) -> str:
    began = f"At step {origin.step:,} the gradient held values that are not finite"
    if origin.among == origin.of and origin.of > 1:
        return (
            f"{began}, in all {origin.of} layers at once: they came from the loss, or from what "
            "the forward pass gave it"
        )
    if origin.among > 1:
        before = many(origin.among - 1, "layer")
        began = f"{began}, here and in {before} before it"
    if origin.sound:
        sound = f"that of layer {origin.sound} was still finite"
        return f"{began}, while {sound}: they began between the two"
    return began


def _broken(broken: bool) -> str:
    return " The weights themselves are not finite any more." if broken else ""


def _finding(
    count: int,
    steps: int,
    premise: str,
    broken: bool,
    *,
    offers: Sequence[FixOffer] = (),
    statistic: str = "grad_nonfinite",
) -> Finding:
    low = float(stats.beta.ppf(0.025, count, steps - count + 1))
    high = 1.0 if count == steps else float(stats.beta.ppf(0.975, count + 1, steps - count))
    return Finding(
        type="NON_FINITE",
        severity="error",
        # P(no such step | the rate is zero): what was seen cannot have come from finite values.
        confidence=float(stats.binom.cdf(count - 1, steps, 0.0)),
        premise=premise,
        implies=(
            "Nothing that this model computes can be used; training cannot recover by itself."
            if broken
            else "An infinite or undefined value spreads to every weight that a step reaches, and "
            "from there to all outputs."
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
                statistic=statistic,
                value=count,
                threshold=0,
                comparison="above",
                n=steps,
                unit="steps" if statistic == "grad_nonfinite" else "values told",
                interval=(low * steps, high * steps),
                test="Clopper-Pearson, those with such a value",
            )
        ],
        fixes=[*offers, suppress()],
    )
