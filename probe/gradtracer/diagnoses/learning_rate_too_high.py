"""LEARNING_RATE_TOO_HIGH: the steps keep the training loss from falling.

Two signs, the stronger first: the loss turns and rises (statistics/divergence.py), or it lies still
at a height that the wandering of the weights explains (statistics/noise_floor.py).
"""

from __future__ import annotations

from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import reduce_rate
from gradtracer.diagnoses.weight_decay import acts_within
from gradtracer.learning_curve import Curve
from gradtracer.settings import Settings
from gradtracer.statistics.divergence import divergence
from gradtracer_schemas import Evidence

_LEVEL = 0.01
_STEP = 3.0
"""Half a decade: the usual step of a search for the rate."""


_STILL = 4.0
"""As many steps again, at the pace of the later half, bring four times the fall between its halves.
"""
_LEAST_VALUES = 8


def examine(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise for the first sign that holds."""
    return _risen(figures, settings) or _at_its_floor(figures, settings)


def _risen(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise when the loss has risen from its minimum, by more than wandering explains.

    A step small enough lowers the loss that it follows; a loss that rises again on the very
    examples that it is trained on is carried there by the steps' noise or by their overshoot.
    Silent where decay pulls the weights back as fast as they are learned: that raises it, too.
    """
    loss, optimizer = figures.loss, figures.optimizer
    if loss is None or optimizer is None or optimizer.lr <= 0:
        return None
    turn = divergence(loss.values)
    if turn is None or turn.p_value > _LEVEL:
        return None
    best = float(loss.values[turn.best])
    least = settings.risen_loss * abs(best)
    if turn.rise < least or acts_within(optimizer, figures.step):
        return None
    lr = float(f"{optimizer.base_lr / _STEP:.1g}")
    return Finding(
        type="LEARNING_RATE_TOO_HIGH",
        severity="warning",
        confidence=1.0 - turn.p_value,
        premise=(
            f"The training loss was lowest at step {loss.steps[turn.best]:,.0f} ({best:.4g}) and "
            f"is {loss.values[-1]:.4g} at step {loss.steps[-1]:,.0f}, on the examples that it is "
            "trained on."
        ),
        implies=(
            f"Steps of lr={optimizer.base_lr:g} carry the weights past where the loss is low: what "
            "they learn from one batch they lose by the next."
        ),
        action=f"Lower the learning rate to {lr:g}, or by a schedule as training goes on.",
        expected_effect=f"A training loss that falls below {best:.4g}, and goes on falling.",
        risk=(
            "A curriculum, harder negatives or data that change also raise a loss; and a rate too "
            "small needs more epochs."
        ),
        evidence=[
            Evidence(
                statistic="loss_rise",
                value=turn.rise,
                threshold=least,
                comparison="above",
                n=turn.n,
                p_value=turn.p_value,
                test="rise from the minimum against a driftless walk (Lévy), Newey-West variance",
            )
        ],
        fixes=[reduce_rate(optimizer, lr, preferred=True), suppress()],
    )


def _at_its_floor(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise when the loss lies still, and a good part of it is what the steps' own noise costs.

    More than as many steps again would bring, so that only smaller ones can. Silent where a
    schedule has begun to make them smaller, and where a held-out metric has turned: who learns
    examples by heart is not helped by learning them better.
    """
    loss, optimizer, floor = figures.loss, figures.optimizer, figures.floor
    if loss is None or optimizer is None or floor is None or optimizer.lr < optimizer.base_lr / 2:
        return None
    late = loss.values[2 * loss.steps > loss.steps[-1]]
    if late.size < _LEAST_VALUES or late.min() <= 0 or _has_turned(figures.validation, settings):
        return None
    level, middle = float(late.mean()), late.size // 2
    fall = float(late[:middle].mean() - late[-middle:].mean())
    least = max(settings.noise_floor_share * level, _STILL * fall)
    p_value = floor.p_value_above(least)
    if p_value > _LEVEL:
        return None
    lr = float(f"{optimizer.base_lr / _STEP:.1g}")
    gain = floor.excess * (1 - 1 / _STEP)
    told = figures.validation is not None
    return Finding(
        type="LEARNING_RATE_TOO_HIGH",
        severity="warning" if told else "information",
        confidence=1.0 - p_value,
        premise=(
            f"Over the later half of the run the training loss lay at {level:.4g} and "
            f"{'rose' if fall < 0 else 'fell'} by {abs(fall):.2g} between its two halves, while "
            "the weights wandered about: at their mean it would be lower by "
            f"{floor.excess:.2g}, as their gradients tell."
        ),
        implies=(
            f"Steps of lr={optimizer.base_lr:g} carry the weights around the minimum, and no "
            "longer into it: what is left of the loss is in good part their own noise."
        ),
        action=(
            f"Lower the learning rate to {lr:g} from here on, by a schedule or for a new run; or "
            "average the weights of late steps."
        ),
        expected_effect=f"A training loss lower by about {min(gain, 0.9 * level):.2g}.",
        risk=(
            "A smaller rate needs more steps to get as far; and a model that fits its training "
            "examples better may do worse on others" + ("." if told else ": none were told of.")
        ),
        evidence=[
            Evidence(
                statistic="noise_floor",
                value=floor.excess,
                threshold=least,
                comparison="above",
                n=floor.looks,
                unit="of the training loss",
                interval=floor.interval,
                p_value=p_value,
                test="half of <gradient, weights less their mean>, Student t over looks",
            )
        ],
        fixes=[reduce_rate(optimizer, lr, preferred=True), suppress()],
    )


def _has_turned(curve: Curve | None, settings: Settings) -> bool:
    turn = divergence(curve.falling) if curve is not None else None
    if turn is None or turn.p_value > _LEVEL:
        return False
    return turn.rise >= settings.overfit_share * turn.gained
