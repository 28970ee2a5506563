"""What a new feature is worth, by cross-validation with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, Integers

FOLDS = 5
Fit = Callable[[Floats, Integers, Integers], float]
"""Trains on some rows of a table and gives the loss on others."""


class Gain(NamedTuple):
    """Fall of the loss, as a share of the loss without the feature."""

    value: float
    interval: tuple[float, float]
    """At the level that was asked for."""
    p_value: float
    """Two-sided."""
    n: int
    """Examples validated on."""


def validated_gain(
    fit: Fit, without: Floats, with_it: Floats, *, level: float = 0.95, seed: int = 0
) -> Gain:
    """Paired five-fold cross-validation of a table without and with a feature.

    Training sets of folds overlap, so that fold differences are alike: their variance is taken
    times (1/K + n_test / n_train), and Student's t has K - 1 degrees of freedom (Nadeau and Bengio,
    Inference for the generalization error, Machine Learning 52, 2003).
    """
    from scipy import stats

    rows = np.random.default_rng(seed).permutation(without.shape[0])
    folds = np.array_split(rows, FOLDS)
    gains = np.empty(FOLDS)
    for number, held in enumerate(folds):
        rest = np.concatenate(folds[:number] + folds[number + 1 :])
        before, after = fit(without, rest, held), fit(with_it, rest, held)
        gains[number] = (before - after) / before if before > 0 else 0.0
    mean = float(gains.mean())
    error = float(gains.std(ddof=1)) * math.sqrt(1 / FOLDS + 1 / (FOLDS - 1))
    if error <= 0:
        return Gain(mean, (mean, mean), 1.0 if mean == 0 else 0.0, rows.size)
    reach = float(stats.t.ppf(0.5 + level / 2, FOLDS - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, FOLDS - 1))
    return Gain(mean, (mean - reach, mean + reach), p_value, int(rows.size))
