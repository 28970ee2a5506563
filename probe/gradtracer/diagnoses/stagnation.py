"""STAGNATION: a layer that is trained and does not move."""

from __future__ import annotations

import math

from scipy import stats

from gradtracer.analyzers.layer_figures import LayerFigures, latter_half, steps_without_gradient
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import raise_rate
from gradtracer.settings import Settings
from gradtracer.statistics.step_history import Column
from gradtracer.unregistered import Holder
from gradtracer_schemas import Evidence, FixOffer

_MIN_STEPS = 32
_MOVING_SHARE = 0.1
_USUAL_RATIO = 1e-3
"""An update of a tenth of a percent of the weights: where layers that learn are seen to be."""


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise when the layer moved, or had a gradient, in fewer than one in ten of the steps.

    Where units that are dead or gradients that vanish explain it, DEAD_NEURONS and
    VANISHING_GRADIENTS name the cause.
    Judged over the later half of the run, so that a learning rate which is annealed to zero at the
    end does not count.
    """
    if figures.normalises or figures.vanished or figures.model.off or figures.model.silent:
        return None
    return _without_gradient(figures) or _without_movement(figures, settings)


def examine_table(figures: TableFigures, settings: Settings) -> Finding | None:
    """Raise when no optimizer steps on the table although gradients reach it."""
    del settings
    return unheld(figures.unheld, figures.kept_in) if figures.trainable else None


def unheld(steps: int, kept_in: Holder | None = None) -> Finding | None:
    """What is said of a weight on which none of so many steps of the training was taken.

    `kept_in`: the plain list or dict that holds its layer, where PyTorch does not know of it.
    """
    p = (1.0 - _MOVING_SHARE) ** steps
    if steps < _MIN_STEPS:
        return None
    why, follows, remedy, fix = _GIVEN if kept_in is None else _plainly(kept_in)
    return _finding(
        1.0 - p,
        f"No optimizer holds this layer's weights: gradients reach them, and {steps:,} steps have "
        f"left them as they were.{why}",
        f"It keeps its first values, and what else is learned has to make do with them.{follows}",
        f"{remedy} If it is meant to stay, freeze it with requires_grad_(False), which also spares "
        "its gradient.",
        Evidence(
            statistic="steps_moved",
            value=0.0,
            threshold=_MOVING_SHARE * steps,
            comparison="below",
            n=steps,
            unit="steps",
            p_value=p,
            test="binomial, share of steps that move it",
        ),
        fix,
    )


_GIVEN = (
    "",
    "",
    "Give it to the optimizer: build that from the parameters of the whole model, or add a group "
    "for this layer.",
    None,
)


def _plainly(kept_in: Holder) -> tuple[str, str, str, FixOffer | None]:
    """Why no optimizer was given it, what else follows, what to do, and the edit that does."""
    attribute, kind = kept_in.attribute, kept_in.kind
    register = "nn.ModuleDict" if kind == "dict" else "nn.ModuleList"
    fix = FixOffer(fix="register-modules", parameters={"holder": attribute}, preferred=True)
    return (
        f" It is kept in {attribute}, a plain {kind}, into which PyTorch does not look.",
        " Nor does .to(device) move it, or state_dict() save it.",
        f"Make {attribute} an {register}: its layers are then among model.parameters()."
        if kept_in.registers
        else f"Keep it in an {register}: it is then among model.parameters().",
        fix if kept_in.registers else None,
    )


def _without_gradient(figures: LayerFigures) -> Finding | None:
    silent, steps = steps_without_gradient(figures)
    p = float(stats.binom.cdf(steps - silent, steps, _MOVING_SHARE))
    if steps < _MIN_STEPS or p >= 0.05:
        return None
    if figures.reached:
        cause = (
            "Its inputs are zero, or all that depends on it is switched off (dead rectifiers, a "
            "saturated output, a mask, a loss term of zero)."
        )
    else:
        cause = "Nothing that the loss depends on uses it, or its output is detached."
    return _finding(
        1.0 - p,
        f"In {silent:,} of {steps:,} tracked steps this layer received no gradient.",
        f"It does not learn. {cause}",
        "Look whether its output reaches the loss. Freeze the layer if it is not meant to learn.",
        Evidence(
            statistic="grad_zero",
            value=silent,
            threshold=(1.0 - _MOVING_SHARE) * steps,
            comparison="above",
            n=steps,
            unit="steps",
            p_value=p,
            test="binomial, share of steps with a gradient",
        ),
    )


def _without_movement(figures: LayerFigures, settings: Settings) -> Finding | None:
    sums = figures.sums[latter_half(figures)].sum(axis=0)
    steps = int(sums[Column.MEASURED])
    moving = int(sums[Column.MOVED_ENOUGH])
    p = float(stats.binom.cdf(moving, steps, _MOVING_SHARE))
    if steps < _MIN_STEPS or p >= 0.05:
        return None
    mean = float(sums[Column.RATIO]) / steps
    variance = max(0.0, float(sums[Column.RATIO_SQUARE]) / steps - mean * mean)
    reach = float(stats.t.ppf(0.975, steps - 1)) * math.sqrt(variance / (steps - 1))
    if mean > settings.stagnation_ratio:
        return None
    lr = figures.optimizer.lr if figures.optimizer is not None else None
    raised = None
    if figures.optimizer is not None and mean > 0:
        path = "" if figures.model.still else figures.layer
        raised = raise_rate(figures.optimizer, _USUAL_RATIO / mean, parameters=path)
    return _finding(
        1.0 - p,
        f"An update moves this layer by {mean:.1e} of its norm on average, over {steps:,} tracked "
        "steps with gradients that are not zero.",
        f"Even in a straight line it would take {_steps_for_a_percent(mean)} to change it by 1 %.",
        (
            f"The learning rate of its parameter group is {lr:g}: raise it until an update is 0.1 "
            "to 1 % of the weights"
            if lr is not None
            else "Raise the learning rate of its parameter group"
        )
        + "; or freeze the layer if it is meant to stay.",
        Evidence(
            statistic="update_ratio",
            value=mean,
            threshold=settings.stagnation_ratio,
            comparison="below",
            n=steps,
            interval=(max(0.0, mean - reach), mean + reach),
            p_value=p,
            test="binomial, share of steps above the threshold",
        ),
        raised,
    )


def _steps_for_a_percent(mean: float) -> str:
    return f"{0.01 / mean:,.0f} steps" if mean > 1e-15 else "more steps than any training has"


def _finding(
    confidence: float,
    premise: str,
    implies: str,
    action: str,
    evidence: Evidence,
    fix: FixOffer | None = None,
) -> Finding:
    return Finding(
        type="STAGNATION",
        severity="warning",
        confidence=confidence,
        premise=premise,
        implies=implies,
        action=action,
        expected_effect="A layer that learns, or one that costs no gradient.",
        risk="A layer that begins to move changes what the layers after it receive.",
        evidence=[evidence],
        fixes=[suppress()] if fix is None else [fix, suppress()],
    )
