"""Effective rank of a table, from Gram matrices of groups of its rows."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

_GROUPS = 10
SAMPLE = 8_192
_PART = 1_024
"""Rows that are multiplied at once."""
_T_975 = 2.262
"""Student t, 9 degrees of freedom, 97.5 %: ten groups."""


class EffectiveRank(NamedTuple):
    """Effective rank with its delete-a-group jackknife interval."""

    value: float
    error: float
    null: float
    """What a table of independent entries of the same size has."""
    rows: int
    """Rows in the sample."""
    dim_99: int
    """Smallest number of principal directions that hold 99 % of the squared norm."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, Student t with 9 degrees of freedom."""
        return (max(1.0, self.value - _T_975 * self.error), self.value + _T_975 * self.error)


def effective_rank(weight: torch.Tensor, rows: torch.Tensor) -> EffectiveRank | None:
    """Effective rank of `weight[rows]`, `[N, D]`: exp of the entropy of its singular values.

    Roy and Vetterli, The effective rank, EUSIPCO 2007, sec. 2. Singular values come from the D x D
    Gram matrix, formed on the table's device; only that crosses to the host. At most 8,192 of
    `rows` are used (`[R]` int64; the caller draws them at random). None with fewer than ten rows,
    with values that are not finite, or for a table of zeros.
    """
    rows = rows[:SAMPLE]
    if rows.numel() < _GROUPS:
        return None
    grams: list[npt.NDArray[np.float64]] = []
    for part in rows.tensor_split(_GROUPS):
        chosen = weight.index_select(0, part).detach().double()
        grams.append((chosen.T @ chosen).cpu().numpy())
    whole = np.sum(grams, axis=0)
    if not np.isfinite(whole).all() or np.trace(whole) <= 0:
        return None
    value = _rank(whole)
    left_out = np.array([_rank(whole - gram) for gram in grams])
    error = float(np.sqrt((_GROUPS - 1) / _GROUPS * np.square(left_out - left_out.mean()).sum()))
    energy = np.sort(np.clip(np.linalg.eigvalsh(whole), 0, None))[::-1]
    dim_99 = int(np.searchsorted(np.cumsum(energy), 0.99 * energy.sum()) + 1)
    n = int(rows.numel())
    return EffectiveRank(value, error, _independent(n, int(weight.shape[1])), n, dim_99)


def _rank(gram: npt.NDArray[np.float64]) -> float:
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    p = singular / singular.sum() if singular.sum() > 0 else singular
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum())) if p.size else 1.0


@lru_cache(maxsize=64)
def _independent(rows: int, dim: int) -> float:
    """Effective rank of a Gaussian table `[rows, dim]`; one seeded draw, as it hardly varies."""
    random = np.random.default_rng(0)
    gram = np.zeros((dim, dim))
    for first in range(0, rows, _PART):
        part = random.standard_normal((min(_PART, rows - first), dim))
        gram += part.T @ part
    return _rank(gram)
