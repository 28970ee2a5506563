"""Variance inflation: how well the other features tell one feature, linearly."""

from __future__ import annotations

import numpy as np

from gradtracer.analyzers.tree_table import Floats


def variance_inflation(column: Floats, others: Floats) -> float:
    """VIF of a column `[n]` against others `[n, F]`: 1 / (1 - R^2) of the least-squares fit.

    1 where the others say nothing, infinite for a linear combination of them and for a constant.
    Rows with a value that is not finite are left out; fewer rows than twice the columns give
    infinity, as the fit would be perfect for no reason. Marquardt, Technometrics 12 (1970).
    """
    known = np.isfinite(column) & np.isfinite(others).all(axis=1)
    y, x = column[known], others[known]
    if y.size < 2 * (x.shape[1] + 1):
        return float("inf")
    y = y - y.mean()
    x = x - x.mean(axis=0)
    scale = np.sqrt(np.square(x).mean(axis=0))
    x = x[:, scale > 0] / scale[scale > 0]
    total = float(y @ y)
    if total <= 0:
        return float("inf")
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0] if x.shape[1] else np.zeros_like(y)
    left = float(np.square(y - fitted).sum())
    return float("inf") if left <= 1e-12 * total else total / left
