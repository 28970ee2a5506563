"""How much of what two features are worth they are worth only together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats

_ROUNDS = 8


class Synergy(NamedTuple):
    """Losses by permutation, in units of the loss."""

    alone: tuple[float, float]
    """Rise of the loss when the one and when the other feature is permuted."""
    together: float
    """Rise when both are."""
    value: float
    """Sum of the two less the rise of both: above 0 they work together."""
    error: float
    """Standard error over permutations."""

    @property
    def p_value(self) -> float:
        """One-sided, that there is no interaction."""
        if self.error <= 0:
            return 0.0 if self.value > 0 else 1.0
        return 0.5 * math.erfc(self.value / (self.error * math.sqrt(2)))


def permutation_synergy(
    loss: Callable[[Floats], float], x: Floats, one: int, other: int, seed: int = 0
) -> Synergy:
    """Interaction of two columns of `x` `[n, F]` in a model whose loss on a table is `loss`.

    To permute a column takes away its own effect and every interaction it is in. An interaction of
    the two is therefore lost twice when each is permuted alone and once when both are: the
    difference is what they are worth together (as in Friedman and Popescu, Predictive learning via
    rule ensembles, Ann. Appl. Stat. 2 (2008), sec. 8.1, with losses for partial dependence). Eight
    pairs of permutations, each used for all three losses.
    """
    rng = np.random.default_rng(seed)
    base = loss(x)
    rises = np.empty((_ROUNDS, 3))
    for number in range(_ROUNDS):
        first, second = x.copy(), x.copy()
        first[:, one] = rng.permutation(x[:, one])
        second[:, other] = rng.permutation(x[:, other])
        both = first.copy()
        both[:, other] = second[:, other]
        rises[number] = loss(first) - base, loss(second) - base, loss(both) - base
    together = rises[:, 0] + rises[:, 1] - rises[:, 2]
    a, b, both_rise = rises.mean(axis=0)
    return Synergy(
        alone=(float(a), float(b)),
        together=float(both_rise),
        value=float(together.mean()),
        error=float(together.std(ddof=1) / math.sqrt(_ROUNDS)),
    )
