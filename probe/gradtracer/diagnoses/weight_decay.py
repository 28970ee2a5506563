"""The weight decay to try where decay is what goes wrong, or what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer_schemas import FixOffer

LARGEST = 10.0
"""Of what is proposed where steps do not follow the gradient's size. A step of AdamW is about its
learning rate at most and decay takes lr x decay x w, so that no weight settles beyond 1 / decay: at
10, at the 0.1 that tables are usually begun with."""
_DEFAULT = 0.01
"""Of `torch.optim.AdamW`, which people have in mind."""


def smaller_decay(optimizer: OptimizerFacts) -> float:
    """A tenth, to three digits: a search for decay goes by decades."""
    return float(f"{optimizer.weight_decay / 10:.3g}")


def written(decay: float) -> str:
    """As people write it in source: `1e-5`."""
    return f"{decay:g}".replace("e-0", "e-")


def reduce_decay(optimizer: OptimizerFacts, *, preferred: bool) -> FixOffer:
    """The offer to set it."""
    return FixOffer(
        fix="reduce-weight-decay",
        parameters={
            "weight_decay": smaller_decay(optimizer),
            "measured_decay": optimizer.weight_decay,
        },
        preferred=preferred,
    )


def forgotten(optimizer: OptimizerFacts, steps: float) -> float:
    """How many times its time constant decoupled decay acts in so many steps.

    A step takes lr x weight_decay of every weight, so that exp(-this) of a value is left that
    nothing renews (Loshchilov and Hutter, ICLR 2019, eq. 12; as a time constant: Wang and
    Aitchison, arXiv 2405.13698, sec. 3). Momentum of SGD multiplies it.
    """
    return _pace(optimizer) * optimizer.weight_decay * steps


def decay_over(optimizer: OptimizerFacts, steps: float, times: float) -> float:
    """The decay that acts so many time constants in so many steps, to one digit; see `LARGEST`."""
    decay = float(f"{times / (_pace(optimizer) * max(1.0, steps)):.1g}")
    return decay if optimizer.name == "SGD" else min(decay, LARGEST)


def left_of(optimizer: OptimizerFacts, decay: float, steps: float) -> float:
    """Share of a value that nothing renews which such a decay leaves after so many steps."""
    return math.exp(-_pace(optimizer) * decay * steps)


def in_perspective(optimizer: OptimizerFacts, decay: float, steps: float) -> str:
    """What the number means, as it looks large where the rate is small or the run is short."""
    rate, taken = optimizer.base_lr, 1.0 - left_of(optimizer, _DEFAULT, steps)
    return (
        f"It counts times the learning rate: at {written(rate)} a step takes "
        f"{100 * rate * decay:.2g} % of each weight, and AdamW's default of {_DEFAULT} would take "
        f"{100 * taken:.2g} % in {steps:,.0f} steps."
    )


def acts_within(optimizer: OptimizerFacts, steps: float) -> bool:
    """Whether decay shapes the weights in so many steps; coupled decay of Adam does at any size."""
    coupled = optimizer.coupled and optimizer.weight_decay > 0
    return coupled or forgotten(optimizer, steps) >= 1.0


def _pace(optimizer: OptimizerFacts) -> float:
    rate = max(optimizer.base_lr, 1e-12)
    return rate / (1.0 - optimizer.momentum) if optimizer.name == "SGD" else rate


def set_decay(
    optimizer: OptimizerFacts, decay: float, tables: Sequence[str] = ()
) -> list[FixOffer]:
    """The offer to set it, where the optimizer has a form that decouples it; else none.

    `tables`: beside other layers; a second offer is for these alone.
    """
    if optimizer.name not in ("Adam", "AdamW", "SGD"):
        return []
    told = {
        "weight_decay": decay,
        "measured_decay": optimizer.weight_decay,
        "optimizer": "SGD" if optimizer.name == "SGD" else "AdamW",
    }
    offers = [FixOffer(fix="set-weight-decay", parameters=told, preferred=True)]
    if tables:
        offers.append(FixOffer(fix="decay-tables", parameters={**told, "tables": list(tables)}))
    return offers
