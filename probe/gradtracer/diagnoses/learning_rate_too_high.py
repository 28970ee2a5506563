"""LEARNING_RATE_TOO_HIGH: the training loss itself turns and rises (statistics/divergence.py)."""

from __future__ import annotations

from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import reduce_rate
from gradtracer.diagnoses.weight_decay import acts_within
from gradtracer.settings import Settings
from gradtracer.statistics.divergence import divergence
from gradtracer_schemas import Evidence

_LEVEL = 0.01
_STEP = 3.0
"""Half a decade: the usual step of a search for the rate."""


def examine(figures: TrainingFigures, settings: Settings) -> Finding | None:
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
