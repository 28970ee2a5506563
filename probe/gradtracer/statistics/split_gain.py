"""How the gain of splits is spread over features, and when each feature comes and goes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats, Integers, TreeTable

_GROUPS = 10


class GainShares(NamedTuple):
    """Gain over F features."""

    share: Floats
    """`[F]` share of the total gain; zeros when no split was made."""
    top: int
    """Feature with the largest share."""
    top_error: float
    """Standard error of its share."""
    gini: float
    """Gini coefficient of the shares over all F features: 0 even, 1 - 1/F all on one."""
    entropy: float
    """Their Shannon entropy in nats; exp of it is the number of features in effective use."""
    p_value: float
    """Chance of a share as large as the largest if a stick of gain were broken at random."""
    n: int
    """Rounds with a split."""


class GainTotals(NamedTuple):
    """Gains of some rounds on F features."""

    groups: Floats
    """`[10, F]` gain by round modulo 10: groups that decay as the whole does."""
    first: Integers
    """`[F]` first round in which the feature is split on; -1 for none."""
    last: Integers
    """`[F]` last such round."""
    rounds: int
    """Rounds with a split."""


def gain_totals(table: TreeTable, features: int) -> GainTotals:
    """Gains of a table's rounds on `features` features; a gain below 0 counts as none."""
    groups = np.zeros(_GROUPS * features)
    first, last = np.full(features, -1), np.full(features, -1)
    rounds = np.zeros(table.rounds, dtype=np.bool_)
    start = table.round % _GROUPS * features
    for rows in table.stretches():
        inner = table.inner_of(rows)
        tree, feature = table.tree[inner], table.feature[inner]
        at, gain = table.round[tree], np.maximum(table.gain[inner], 0.0)
        groups += np.bincount(start[tree] + feature, gain, groups.size)
        # Rounds ascend, and of several values for one place the last one stays.
        earlier = np.full(features, -1)
        earlier[feature[::-1]] = at[::-1]
        first = np.where(first >= 0, first, earlier)
        last[feature] = at
        rounds[at] = True
    groups = groups.reshape(_GROUPS, features)
    return GainTotals(groups, first, last, int(np.count_nonzero(rounds)))


def merged(one: GainTotals, other: GainTotals) -> GainTotals:
    """Totals of earlier and later rounds; features unknown to one of them had no gain there."""
    width = max(one.first.size, other.first.size)
    one, other = _widened(one, width), _widened(other, width)
    return GainTotals(
        groups=one.groups + other.groups,
        first=np.where(one.first >= 0, one.first, other.first),
        last=np.maximum(one.last, other.last),
        rounds=one.rounds + other.rounds,
    )


def _widened(totals: GainTotals, width: int) -> GainTotals:
    more = width - totals.first.size
    return totals._replace(
        groups=np.pad(totals.groups, ((0, 0), (0, more))),
        first=np.pad(totals.first, (0, more), constant_values=-1),
        last=np.pad(totals.last, (0, more), constant_values=-1),
    )


def gain_shares(totals: GainTotals) -> GainShares | None:
    """Concentration of the gains; None without any split.

    The p-value is Fisher's for the largest of F random shares, the law of the longest piece of a
    stick broken at F - 1 uniform points: P(max > x) = sum_j (-1)^(j+1) C(F, j) (1 - j x)_+^(F-1)
    (Fisher, Tests of significance in harmonic analysis, Proc. R. Soc. A 125, 1929). Standard error
    of the top share by the delete-a-group jackknife over ten interleaved groups of rounds.
    """
    by_feature = totals.groups.sum(axis=0)
    total = by_feature.sum()
    if not total > 0:
        return None
    share = by_feature / total
    top = int(share.argmax())
    used = share[share > 0]
    features = share.size
    rank = np.arange(1, features + 1)
    gini = float(2 * (rank * np.sort(share)).sum() / features - (features + 1) / features)
    return GainShares(
        share=share,
        top=top,
        top_error=_error(totals.groups[:, top], totals.groups.sum(axis=1)),
        gini=gini,
        entropy=float(-(used * np.log(used)).sum()),
        p_value=longest_piece(float(share[top]), features),
        n=totals.rounds,
    )


def _error(inside: Floats, every: Floats) -> float:
    inside, every = inside[every > 0], every[every > 0]
    groups = every.size
    if groups < 2:
        return 0.0
    leave_one = (inside.sum() - inside) / (every.sum() - every)
    spread = np.square(leave_one - leave_one.mean()).sum()
    return float(np.sqrt((groups - 1) / groups * spread))


def longest_piece(share: float, pieces: int) -> float:
    """P(longest > share) of a stick of length 1 broken at random into `pieces`."""
    if pieces < 2:
        return 1.0
    total = 0.0
    for j in range(1, pieces + 1):
        rest = 1 - j * share
        if rest <= 0:
            break
        log_term = (
            math.lgamma(pieces + 1)
            - math.lgamma(j + 1)
            - math.lgamma(pieces - j + 1)
            + (pieces - 1) * math.log(rest)
        )
        total += math.exp(log_term) * (1 if j % 2 else -1)
        if j > 50 and share < 1 / pieces:
            return 1.0
    return min(1.0, max(0.0, total))
