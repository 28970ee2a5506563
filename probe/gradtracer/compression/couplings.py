"""Layers that are decided together: tables that meet, and linear layers that feed each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from gradtracer.compression.chains import chains
from gradtracer.compression.dot_products import dot_products
from gradtracer.compression.loss_rise import Loss
from gradtracer.compression.quality import Evaluate, values_of


class Couplings(NamedTuple):
    """By paths of layers."""

    meets: Sequence[tuple[str, str]] = ()
    """Pairs of tables that meet in dot products and in nothing else."""
    chains: Sequence[Sequence[str]] = ()
    """Linear layers that feed each other and nothing else."""


def couplings(
    model: nn.Module,
    evaluate: Evaluate | None,
    loss: Loss | None,
    meets: Sequence[tuple[str, str]] | None = None,
) -> Couplings:
    """Find both by trying.

    Args:
        model: In evaluation mode; is left as it is.
        evaluate: Is asked; None: the loss is, and without one nothing is found.
        loss: Is asked with the same random numbers each time.
        meets: Where they are known.
    """
    answers = evaluate if evaluate is not None else loss and _seeded(loss)
    if answers is None:
        return Couplings(meets or ())
    with torch.no_grad():
        before = values_of(answers, model)
        if meets is None:
            meets = dot_products(model, answers, before)
        return Couplings(meets, chains(model, answers, before))


def _seeded(loss: Loss) -> Evaluate:
    def answers(model: nn.Module) -> float:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return float(loss(model))

    return answers
