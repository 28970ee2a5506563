"""What an optimizer does to one parameter, as far as a diagnosis needs to know."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.optim import Optimizer

_ADAPTIVE = {"Adadelta", "Adagrad", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop"}


class OptimizerFacts(NamedTuple):
    """Settings of the parameter group that holds the parameter."""

    name: str
    """Class name."""
    lr: float
    weight_decay: float
    coupled: bool
    """Weight decay is added to a gradient that is then divided by its own scale."""


def optimizer_facts(optimizer: Optimizer, parameter: torch.Tensor) -> OptimizerFacts | None:
    """Facts for `parameter`; None when no group of `optimizer` holds it."""
    for group in optimizer.param_groups:
        if any(held is parameter for held in group["params"]):
            name = type(optimizer).__name__
            return OptimizerFacts(
                name,
                float(group.get("lr", 0.0)),
                float(group.get("weight_decay", 0.0)),
                name in _ADAPTIVE and not group.get("decoupled_weight_decay", False),
            )
    return None
