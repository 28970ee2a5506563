"""Which splits of an ensemble hold up on examples that it was not trained on.

A split moves the examples on either side of it from the mean of its node to the mean of a child. To
take it back is to leave out that movement, and nothing is trained anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, Integers, TreeTable, joined

_MIN_EXAMPLES = 100
_AT_ONCE = 128
"""Trees that are followed at once."""
_MOST_LEVELS = 64
_SQUARED = frozenset({"rmse", "l2", "mse"})
_LOGISTIC = frozenset({"logloss", "binary_logloss"})


class Simpler(NamedTuple):
    """What the held-out loss says of the model with splits taken back."""

    depth: int | None
    """Splits above a leaf, at most, at which the loss is lowest; None if all of them hold up."""
    gain: float
    """Share of the loss that taking the deeper ones back saves; 0 without a depth."""
    error: float
    """Standard error of that share."""
    p_value: float
    """Of a gain as large if the deeper splits changed nothing, corrected for all tried."""
    n: int
    """Examples."""


class HeldOutMargins:
    """Margins of n held-out examples by the trees seen so far, with and without deep splits."""

    def __init__(self, x: Floats, target: Floats, *, strict: bool) -> None:
        """`x` `[n, F]` float64 and `target` `[n]`.

        `strict`: what equals a threshold goes right, as in XGBoost. Examples with a value missing
        are left out, as libraries send them here or there.
        """
        kept = np.isfinite(x).all(axis=1) & np.isfinite(target)
        self._x, self.target = np.ascontiguousarray(x[kept]), target[kept]
        self._strict = strict
        self.features = self._x.shape[1]
        self._steps: list[Floats] = []
        self.followed = self.target.size >= _MIN_EXAMPLES
        """False where there are too few, or a tree could not be followed."""

    def add(self, table: TreeTable) -> None:
        """Take in the trees of new rounds; one with categories or several outputs ends it."""
        inner = table.inner
        splits = table.threshold[inner]
        self.followed = bool(
            self.followed
            and table.value.shape[1] == 1
            and not table.output.any()
            and np.isfinite(splits).all()
            and table.feature.max(initial=-1) < self._x.shape[1]
            and table.depth.max(initial=0) <= _MOST_LEVELS
        )
        if not self.followed:
            return
        border, mean = borders(table, strict=self._strict), node_means(table)
        roots = np.flatnonzero(table.depth == 0)
        self._add(0, np.full(self.target.size, mean[roots].sum()))
        for node, below in followed_down(table, border, self._x, roots):
            level = int(table.depth[below].max())
            self._add(level, (mean[below] - mean[node]).sum(axis=0))

    def _add(self, level: int, step: Floats) -> None:
        if level == len(self._steps):
            self._steps.append(np.zeros(self.target.size))
        self._steps[level] += step

    def simpler(self, metric: str, told: float) -> Simpler | None:
        """Compare the whole with the model cut at each depth; `told` is the library's own metric.

        The loss is the squared or the logistic one, as the metric says, with the constant that
        suits each depth best: libraries keep it apart from their trees. Paired over examples,
        one-sided, by the normal law, with Bonferroni's correction over depths. None for other
        metrics, and where the loss of the whole is not within four errors of what is told.
        """
        loss = loss_of(metric, self.target)
        if not self.followed or loss is None or len(self._steps) < 2:
            return None
        by_depth = np.cumsum(self._steps, axis=0)
        whole = loss(by_depth[-1])
        if not near_told(whole, metric, told):
            return None
        tried = [saved_share(whole, loss(margin), len(by_depth) - 2) for margin in by_depth[1:-1]]
        depth = max(range(len(tried)), key=lambda each: tried[each][0]) + 1 if tried else None
        best = tried[depth - 1] if depth is not None else (0.0, 0.0, 1.0)
        if best[0] <= 0:
            depth, best = None, (0.0, best[1], 1.0)
        return Simpler(depth, *best, whole.size)


def borders(table: TreeTable, *, strict: bool) -> Any:
    """`[N]` float32, up to which and including which an example goes left."""
    border = table.threshold.astype(np.float32)
    return np.nextafter(border, np.float32(-np.inf)) if strict else border


def followed_down(
    table: TreeTable, border: Any, x: Floats, roots: Integers
) -> Iterator[tuple[Any, Any]]:
    """Nodes `[trees, n]` that examples `[n, F]` are in, and those a split further down.

    Some trees at a time, level by level; an example in a leaf stays there.
    """
    n, features = x.shape
    cells, row = x.astype(np.float32).ravel(), np.arange(n) * features
    for first in range(0, roots.size, _AT_ONCE):
        node = np.repeat(roots[first : first + _AT_ONCE, None], n, axis=1)
        while (inside := (feature := table.feature[node]) >= 0).any():
            value = cells[row + np.maximum(feature, 0)]
            below = np.where(value <= border[node], table.left[node], table.right[node])
            below = np.where(inside, below, node)
            yield node, below
            node = below


def node_means(table: TreeTable) -> Floats:
    """`[N]` mean of the leaves below each node, weighted by cover."""
    cover, mean = table.cover.copy(), table.value.T.copy()
    inner = table.inner
    depth = table.depth[inner]
    for level in reversed(range(int(depth.max(initial=-1)) + 1)):
        at = inner[depth == level]
        joined(cover, mean, at, table.left[at], table.right[at])
    return mean[0]


def near_told(losses: Floats, metric: str, told: float) -> bool:
    """Whether losses `[n]` are within four errors of the metric as the library tells it."""
    level = float(losses.mean())
    told = told**2 if metric.lower() == "rmse" else told
    error = float(losses.std()) / math.sqrt(losses.size)
    return level > 0 and abs(level - told) <= 4 * error + 0.02 * level


def saved_share(whole: Floats, other: Floats, tried: int = 1) -> tuple[float, float, float]:
    """Share of the losses `[n]` that others save, its standard error, and the p-value of a saving.

    One-sided, by the normal law, with Bonferroni's correction over as many as were tried.
    """
    level, saved = float(whole.mean()), whole - other
    error = float(saved.std(ddof=1)) / math.sqrt(saved.size)
    gain = float(saved.mean())
    p_value = 1.0 if error <= 0 else 0.5 * math.erfc(gain / (error * math.sqrt(2)))
    return gain / level, error / level, min(1.0, tried * p_value)


def loss_of(metric: str, target: Floats) -> Any:
    """Function from margins `[n]` to losses `[n]`; None for another metric."""

    def squared(margin: Floats) -> Floats:
        return np.square(target - margin - (target - margin).mean())

    metric = metric.lower()
    if metric in _SQUARED:
        return squared
    classes = np.unique(target)
    if metric not in _LOGISTIC or classes.size != 2:
        return None
    positive = target == classes[1]

    def logistic(margin: Floats) -> Floats:
        shift = 0.0
        for _ in range(20):  # Newton's method
            p = 1.0 / (1.0 + np.exp(-np.clip(margin + shift, -30, 30)))
            shift += (positive - p).sum() / max(1e-9, (p * (1 - p)).sum())
        return np.logaddexp(0.0, np.where(positive, -1.0, 1.0) * (margin + shift))

    return logistic
