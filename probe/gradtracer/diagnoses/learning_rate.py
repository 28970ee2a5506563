"""The learning rate to try where the step size is what goes wrong."""

from __future__ import annotations

import math

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer_schemas import FixOffer


def settled_rate(optimizer: OptimizerFacts, agreement: float) -> float:
    """The rate at which a row that alternates would land in its minimum at once, to two digits.

    On a parabola of curvature h a gradient step of size r turns the gradient g into a g with
    a = 1 - r h. `agreement` is 2 a / (1 + a^2) (statistics/noise_energy.py), below 0; solved for a,
    r / (1 - a) is 1 / h. That is between a half of r and r.
    """
    rho = max(-1.0, min(agreement, -1e-6))
    a = (1.0 - math.sqrt(1.0 - rho * rho)) / rho
    return float(f"{optimizer.base_lr / (1.0 - a):.2g}")


def reduce_rate(
    optimizer: OptimizerFacts, lr: float, *, parameters: str = "", preferred: bool = False
) -> FixOffer:
    """The offer to set it: for all that the optimizer holds, or for one layer or parameter."""
    return _offer("reduce-learning-rate", optimizer, lr, parameters, preferred)


def raise_rate(
    optimizer: OptimizerFacts, factor: float, *, parameters: str = ""
) -> FixOffer | None:
    """The offer to multiply it, for all that the optimizer holds or for one part of the model.

    An update is in proportion to the rate, under SGD and the Adam family alike. None where there is
    no rate to raise, or where it would come to more than 1: then the gradients are too small, and
    not the rate.
    """
    lr = float(f"{optimizer.base_lr * factor:.2g}")
    if not optimizer.base_lr < lr <= 1:
        return None
    return _offer("raise-learning-rate", optimizer, lr, parameters, preferred=True)


def _offer(
    fix: str, optimizer: OptimizerFacts, lr: float, parameters: str, preferred: bool
) -> FixOffer:
    told: dict[str, float | str] = {"lr": lr, "measured_lr": optimizer.base_lr}
    if parameters:
        told["parameters"] = parameters
    return FixOffer(fix=fix, parameters=told, preferred=preferred)
