"""How far each boosting round moves the margin, and the law by which that decays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, TreeTable

_GROUPS = 10
_LATE = 0.25


class Share(NamedTuple):
    """A share with its standard error."""

    value: float
    error: float
    n: int


class Trend(NamedTuple):
    """Growth per round of the logarithm of a series."""

    rate: float
    """Nepers a round; below 0 it decays, with half-life ln 2 / -rate."""
    error: float
    n: int


def leaf_velocity(table: TreeTable, rounds: int | None = None) -> Floats:
    """`[T]` root mean square movement of the margin by each round, in the margin's unit.

    The standard deviation of a tree's leaf values, weighted by cover: over the training examples
    a tree with values v_l and covers w_l moves the margin by v_l, of which the mean is a shift of
    all alike. Trees of one round are for different classes and add in squares. 0 for a round of
    stumps without a split, and where no example reaches a leaf.
    """
    rounds = table.rounds if rounds is None else rounds
    if not table.trees:
        return np.zeros(rounds)
    square = np.zeros(table.trees)
    for rows in table.stretches():
        leaf = table.leaves_of(rows)
        cover, tree = table.cover[leaf], table.tree[leaf]
        first = np.flatnonzero(np.diff(tree, prepend=-1))
        total = np.add.reduceat(cover, first)
        safe = np.where(total > 0, total, 1.0)
        leaves = np.diff(first, append=tree.size)
        for k in range(table.value.shape[1]):
            value = table.value[leaf, k]
            mean = np.add.reduceat(cover * value, first) / safe
            value -= np.repeat(mean, leaves)
            square[tree[first]] += np.add.reduceat(cover * np.square(value), first) / safe
    return np.sqrt(np.bincount(table.round, square, rounds)[:rounds])


def late_share(velocity: Floats) -> Share | None:
    """Share of the whole path that the last quarter of the rounds goes; None below 40 rounds.

    By the triangle inequality those rounds together move the margin by at most that share of the
    path's length. Equal steps give 1/4. Standard error by the delete-a-group jackknife over ten
    interleaved groups of rounds (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    ch. 11), so that each group decays as the whole does.
    """
    n = velocity.size
    if n < 4 * _GROUPS or not velocity.sum() > 0:
        return None
    late = np.arange(n) >= n - int(_LATE * n)
    group = np.arange(n) % _GROUPS
    inside = np.bincount(group, velocity * late, _GROUPS)
    every = np.bincount(group, velocity, _GROUPS)
    left = every.sum() - every
    if not (left > 0).all():
        return None
    leave_one = (inside.sum() - inside) / left
    error = np.sqrt((_GROUPS - 1) / _GROUPS * np.square(leave_one - leave_one.mean()).sum())
    return Share(float(inside.sum() / every.sum()), float(error), n)


def tail_start(velocity: Floats, share: float) -> int:
    """First round from which all that follows goes at most `share` of the path; T when none."""
    total = velocity.sum()
    if not total > 0:
        return 0
    rest = np.concatenate([np.cumsum(velocity[::-1])[::-1], [0.0]])
    return int(np.argmax(rest <= share * total))


def growth(velocity: Floats) -> Trend | None:
    """Log-linear trend over the later half of the rounds; None below 20 of them that move.

    Least squares of log v on the round. Residuals of successive rounds are alike, so the error is
    Newey and West's (Econometrica 55, 1987) with Bartlett weights and 4 (n/100)^(2/9) lags.
    Rounds that move nothing are left out.
    """
    late = velocity[velocity.size // 2 :]
    at = np.flatnonzero(late > 0).astype(np.float64)
    n = at.size
    if n < 20:
        return None
    y = np.log(late[late > 0])
    x = at - at.mean()
    rate = float(x @ y / (x @ x))
    score = x * (y - y.mean() - rate * x)
    spread = score @ score
    lags = int(4 * (n / 100) ** (2 / 9))
    for lag in range(1, lags + 1):
        spread += 2 * (1 - lag / (lags + 1)) * (score[lag:] @ score[:-lag])
    return Trend(rate, float(np.sqrt(max(0.0, spread)) / (x @ x)), n)
