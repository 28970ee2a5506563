"""How much of the target one feature explains by itself, on examples it was not fitted to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, Integers

_BINS = 32
_MIN_EXAMPLES = 100


class Explained(NamedTuple):
    """Share of the target's variance, with its standard error over examples."""

    value: float
    error: float
    n: int


def explained_alone(feature: Any, target: Any, *, classes: bool) -> Explained | None:
    """Out-of-sample R^2 of a step function of one feature `[n]` for the target `[n]`.

    The mean of the target in each of 32 quantile bins (in each category for a feature that is no
    number; missing values apart) is learned on every second example and predicts the others, and
    the other way round, so that a feature with as many values as examples explains nothing. With
    `classes` the target is one column for each class, and R^2 is one less Brier's score over that
    of the class frequencies (Brier, 1950). Standard error by the delta method for a ratio of means
    (Cochran, Sampling Techniques, 1977, ch. 6). None below 100 examples and for a constant target.
    """
    place = _bins(feature)
    known = target == target  # NaN alone differs from itself
    place, target = place[known], np.asarray(target)[known]
    if target.size < _MIN_EXAMPLES:
        return None
    y = _columns(target) if classes else target.astype(np.float64)[:, None]
    half = np.arange(target.size) % 2 == 1
    error, total = np.zeros(target.size), np.zeros(target.size)
    for held in (half, ~half):
        mean = y[~held].mean(axis=0)
        width = int(place.max()) + 1
        count = np.bincount(place[~held], minlength=width)[:, None]
        sums = np.stack([np.bincount(place[~held], column, width) for column in y[~held].T], axis=1)
        learned = np.where(count > 0, sums / np.maximum(count, 1), mean)
        error[held] = np.square(y[held] - learned[place[held]]).sum(axis=1)
        total[held] = np.square(y[held] - mean).sum(axis=1)
    if not total.mean() > 0:
        return None
    ratio = error.mean() / total.mean()
    spread = (error - ratio * total).std() / total.mean()
    return Explained(float(1 - ratio), float(spread / np.sqrt(target.size)), int(target.size))


def _bins(feature: Any) -> Integers:
    column = np.asarray(feature)
    if column.dtype.kind not in "fiub":
        _, codes = np.unique(column.astype(str), return_inverse=True)
        return codes.astype(np.int64)
    x = column.astype(np.float64)
    known = x[np.isfinite(x)]
    if not known.size:
        return np.zeros(x.size, dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, x, side="right")
    return np.where(np.isnan(x), edges.size + 1, place)


def _columns(target: Any) -> Floats:
    _, codes = np.unique(target, return_inverse=True)
    return np.eye(int(codes.max()) + 1)[codes]
