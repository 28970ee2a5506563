"""What an optimizer does to one parameter, as far as a diagnosis needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch.optim import Optimizer

from gradtracer.training_sites import TrainingSites

_ADAPTIVE = {"Adadelta", "Adagrad", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop"}
_DECOUPLED = {"AdamW", "SparseAdam"}


class OptimizerFacts(NamedTuple):
    """Settings of the parameter group that holds the parameter."""

    name: str
    """Class name."""
    lr: float
    """Learning rate of the last step."""
    weight_decay: float
    coupled: bool
    """Weight decay is added to a gradient that is then divided by its own scale."""
    base_lr: float = 0.0
    """Learning rate that a scheduler began from, which is what the source says; else `lr`."""
    adaptive: bool = False
    """The gradient is divided by its own scale."""
    momentum: float = 0.0
    """Momentum of SGD or RMSprop; first beta of the Adam family."""


class TrainedBy(NamedTuple):
    """What trains the observed weights of a tracker."""

    facts: OptimizerFacts
    sites: TrainingSites | None
    size: int
    """Number of weights."""


def optimizer_facts(optimizer: Optimizer, parameter: torch.Tensor) -> OptimizerFacts | None:
    """Facts for `parameter`; None when no group of `optimizer` holds it."""
    for group in optimizer.param_groups:
        if any(held is parameter for held in group["params"]):
            return _facts(optimizer, group)
    return None


def facts_by_parameter(optimizer: Optimizer) -> dict[int, OptimizerFacts]:
    """Facts for every parameter that `optimizer` holds, by its id."""
    found: dict[int, OptimizerFacts] = {}
    for group in optimizer.param_groups:
        found.update(dict.fromkeys(map(id, group["params"]), _facts(optimizer, group)))
    return found


def _facts(optimizer: Optimizer, group: dict[str, Any]) -> OptimizerFacts:
    name = type(optimizer).__name__
    lr = float(group.get("lr", 0.0))
    return OptimizerFacts(
        name,
        lr,
        float(group.get("weight_decay", 0.0)),
        name in _ADAPTIVE and not group.get("decoupled_weight_decay", False),
        base_lr=float(group.get("initial_lr", lr)),
        adaptive=name in _ADAPTIVE | _DECOUPLED,
        momentum=float(group.get("momentum", group.get("betas", (0.0,))[0])),
    )


def held_by(optimizer: Optimizer | None) -> set[int] | None:
    """Identities of the parameters that an optimizer steps on; None without one."""
    if optimizer is None:
        return None
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def told_by_scaler(optimizer: Optimizer, what: str) -> torch.Tensor | None:
    """What a GradScaler tells an optimizer that unscales gradients and skips steps by itself.

    `grad_scale`: what the gradients were multiplied by; `found_inf`: not zero where it will skip.
    """
    value = getattr(optimizer, what, None)
    return value if isinstance(value, torch.Tensor) else None


class _Weighted(Protocol):
    @property
    def weights(self) -> Sequence[torch.Tensor]: ...


def largest_trained(
    facts: Sequence[tuple[_Weighted, OptimizerFacts | None]], sites: TrainingSites | None
) -> TrainedBy | None:
    """What trains the largest of some layers; None where no optimizer is known."""
    found = [
        TrainedBy(each, sites, sum(weight.numel() for weight in layer.weights))
        for layer, each in facts
        if each is not None
    ]
    return max(found, key=lambda by: by.size, default=None)
