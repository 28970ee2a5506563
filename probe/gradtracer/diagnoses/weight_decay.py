"""The weight decay to try where decay is what goes wrong."""

from __future__ import annotations

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer_schemas import FixOffer


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
