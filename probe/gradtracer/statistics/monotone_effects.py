"""Which features move the prediction one way, by a model's own trees and held-out examples.

A split on a feature moves the examples on its higher side up or down against those on its lower
side. Where a feature's true effect is monotone, its splits one way carry it and those the other way
fit noise: without these, held-out examples lose less, and a constraint forbids them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, TreeTable
from gradtracer.statistics.held_out_splits import (
    borders,
    followed_down,
    loss_of,
    near_told,
    node_means,
    saved_share,
)

_LEVEL = 0.01
_MIN_EXAMPLES = 200
_MOST_FEATURES = 100
"""Above, nobody would read the list of constraints."""


class Monotone(NamedTuple):
    """Features to constrain, and what held-out examples say of it."""

    signs: dict[int, int]
    """1 for a feature whose effect rises, -1 for one whose effect falls."""
    gain: float
    """Share of the held-out loss that is saved without the splits that go the other way."""
    error: float
    """Standard error of that share."""
    p_value: float
    """Of a gain as large if those splits changed nothing."""
    n: int
    """Examples."""


def monotone_effects(
    tables: Sequence[TreeTable],
    rounds: int,
    x: Floats,
    target: Floats,
    *,
    strict: bool,
    metric: str,
    told: float,
) -> Monotone | None:
    """Judge the trees of rounds below `rounds`, on examples `x` `[n, F]` and `target` `[n]`.

    A feature is chosen where the loss rises without its splits one way, at 0.01 with Bonferroni's
    correction over features and ways, and falls without those the other way. One half of the
    examples chooses and the other measures, and the other way round (cross-fitting, Chernozhukov et
    al., Econometrics Journal 21, 2018), so what is measured had no part in the choice. `strict`,
    `metric` and `told` are as in `held_out_splits`. None where neither half chooses a feature,
    where they disagree about a sign, or the whole is not what is `told`.
    """
    kept = np.isfinite(x).all(axis=1) & np.isfinite(target)
    x, target = x[kept], target[kept]
    n, features = x.shape
    if n < _MIN_EXAMPLES or features > _MOST_FEATURES:
        return None
    base, moves = movements(tables, rounds, x, strict)
    whole = base + moves.sum(axis=(0, 1))
    loss = loss_of(metric, target)
    if loss is None or not near_told(loss(whole), metric, told):
        return None
    signs: dict[int, int] = {}
    before, after = np.zeros(n), np.zeros(n)
    first = np.arange(n) % 2 == 0
    for chooses in (first, ~first):
        chosen = _chosen(whole[chooses], moves[:, :, chooses], loss_of(metric, target[chooses]))
        if any(signs.get(feature, sign) != sign for feature, sign in chosen.items()):
            return None
        signs |= chosen
        measures = ~chooses
        other = [moves[int(sign > 0), feature, measures] for feature, sign in chosen.items()]
        loss = loss_of(metric, target[measures])
        if loss is None:
            return None
        before[measures] = loss(whole[measures])
        after[measures] = loss(whole[measures] - sum(other))
    if not signs or before.mean() <= 0:
        return None
    gain, error, p_value = saved_share(before, after)
    return Monotone(signs, gain, error, p_value, n) if error > 0 else None


def movements(
    tables: Sequence[TreeTable], rounds: int, x: Floats, strict: bool
) -> tuple[Floats, Floats]:
    """`[n]` sum of the roots' means, and `[2, F, n]` movements by splits that rise or fall."""
    n, features = x.shape
    base, moves = np.zeros(n), np.zeros(2 * features * n)
    for table in tables:
        border, mean = borders(table, strict=strict), node_means(table)
        inner = table.inner
        falls = np.zeros(table.tree.size, dtype=np.int64)
        falls[inner] = mean[table.right[inner]] < mean[table.left[inner]]
        first = falls * features + table.feature
        roots = np.flatnonzero(table.depth == 0)
        roots = roots[table.round[table.tree[roots]] < rounds]
        base += mean[roots].sum()
        for node, below in followed_down(table, border, x, roots):
            inside = table.feature[node] >= 0
            cell = (first[node] * n + np.arange(n))[inside]
            moves += np.bincount(cell, (mean[below] - mean[node])[inside], moves.size)
    return base, moves.reshape(2, features, n)


def _chosen(whole: Floats, moves: Floats, loss: Any) -> dict[int, int]:
    if loss is None:
        return {}
    least = -NormalDist().inv_cdf(_LEVEL / (2 * moves.shape[1]))
    before, signs = loss(whole), {}
    for feature in range(moves.shape[1]):
        # Score of what is saved without the splits that rise, and without those that fall.
        rising, falling = (_score(before - loss(whole - way[feature])) for way in moves)
        if rising < -least and falling > 0:
            signs[feature] = 1
        elif falling < -least and rising > 0:
            signs[feature] = -1
    return signs


def _score(saved: Floats) -> float:
    spread = float(saved.std(ddof=1))
    return float(saved.mean()) / spread * math.sqrt(saved.size) if spread > 0 else 0.0
