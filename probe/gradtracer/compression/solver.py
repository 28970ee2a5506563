"""Which candidate each part of the model takes: exactly, by integer programming.

One candidate for each unit, the least damage within so many bytes, or the fewest bytes within so
much damage: the multiple-choice knapsack problem (Sinha and Zoltners 1979), as HAWQ-V3 (Yao et al.,
ICML 2021) poses it for bit widths. SciPy's `milp` (HiGHS) proves the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array


class Choice(NamedTuple):
    """A solution."""

    picks: tuple[int, ...]
    """For each unit the position of its candidate."""
    bytes: int
    """Sum over units."""
    damage: float
    """Sum over units."""


def least_damage(
    sizes: Sequence[Sequence[int]], damages: Sequence[Sequence[float]], most_bytes: int
) -> Choice | None:
    """The choice of least damage with at most `most_bytes`; None where there is none.

    Args:
        sizes: For each unit the bytes of its candidates.
        damages: The same shape; negative where a candidate is better than no change.
        most_bytes: The bound.
    """
    return _solve(damages, sizes, most_bytes, sizes, damages)


def fewest_bytes(
    sizes: Sequence[Sequence[int]], damages: Sequence[Sequence[float]], most_damage: float
) -> Choice | None:
    """The choice of fewest bytes with at most `most_damage`; None where there is none."""
    return _solve(sizes, damages, most_damage, sizes, damages)


def front(
    sizes: Sequence[Sequence[int]], damages: Sequence[Sequence[float]], points: int
) -> list[Choice]:
    """Choices of least damage from the smallest possible to the largest, none beaten in both.

    Budgets lie evenly on the scale of the logarithm of bytes; fewer than `points` where several
    budgets have the same solution.
    """
    least, most = (sum(f(each) for each in sizes) for f in (min, max))
    found: list[Choice] = []
    for budget in np.geomspace(max(1, least), max(1, most), points):
        choice = least_damage(sizes, damages, max(least, int(budget)))
        if choice is not None and all(choice.damage < other.damage for other in found):
            found.append(choice)
    return found


def _solve(
    cost: Sequence[Sequence[float]],
    bounded: Sequence[Sequence[float]],
    bound: float,
    sizes: Sequence[Sequence[int]],
    damages: Sequence[Sequence[float]],
) -> Choice | None:
    if not cost:
        return Choice((), 0, 0.0) if bound >= 0 else None
    c, limited = (np.concatenate([np.asarray(row, float) for row in x]) for x in (cost, bounded))
    starts = np.cumsum([0, *map(len, cost)])
    units = np.repeat(np.arange(len(cost)), np.diff(starts))
    one_each = csr_array((np.ones(len(c)), (units, np.arange(len(c)))))
    # damages may be of any magnitude, and HiGHS has absolute tolerances
    scale, limit_scale = (float(np.abs(x).max()) or 1.0 for x in (c, limited))
    result = milp(
        c / scale,
        integrality=np.ones(len(c)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(limited[None] / limit_scale, -np.inf, bound / limit_scale),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    chosen = np.flatnonzero(result.x > 0.5)
    picks = tuple(int(at - starts[unit]) for unit, at in enumerate(chosen))
    return Choice(
        picks,
        sum(sizes[unit][at] for unit, at in enumerate(picks)),
        sum(damages[unit][at] for unit, at in enumerate(picks)),
    )
