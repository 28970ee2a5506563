"""Some of the training examples, from whatever the training call was given."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradtracer.analyzers.booster_facts import Sample

_EXAMPLES = 2_000
_VALUES = 2_000_000
_CLASSES = 20


def sample_of(x: Any, y: Any) -> Sample | None:
    """At most 2,000 examples at even distances of a table `[n, F]` and a target `[n]`.

    Copies them, so that nothing of the user's is kept. None for what is no such table; a target
    of at most 20 values counts as classes.
    """
    try:
        n, features = int(x.shape[0]), int(x.shape[1])
        kept = min(n, _EXAMPLES, max(200, _VALUES // max(1, features)))
        at = np.linspace(0, n - 1, kept).round().astype(np.int64)
        target = np.asarray(y.iloc[at] if hasattr(y, "iloc") else np.asarray(y)[at])
        if target.ndim != 1 or target.size != kept:
            return None
        rows = x.iloc[at] if hasattr(x, "iloc") else x[at]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None

    def column(index: int) -> Any:
        if hasattr(rows, "iloc"):
            return np.asarray(rows.iloc[:, index])
        values: Any = rows[:, index]
        return np.asarray(values.todense()).ravel() if hasattr(values, "todense") else values

    return Sample(column, target, classes=np.unique(target).size <= _CLASSES)


def matrix_sample(matrix: Any) -> Sample | None:
    """The same of XGBoost's own `DMatrix`, where it can be sliced."""
    try:
        n = matrix.num_row()
        at = np.linspace(0, n - 1, min(n, _EXAMPLES)).round().astype(np.int64)
        part = matrix.slice(at)
        target, rows = part.get_label(), part.get_data().tocsc()
    except Exception:  # quantised and external matrices refuse, each in its own way
        return None
    if target.size != at.size:
        return None

    def column(index: int) -> Any:
        # What a sparse matrix does not hold is missing to XGBoost.
        values = np.full(at.size, np.nan)
        begin, end = rows.indptr[index], rows.indptr[index + 1]
        values[rows.indices[begin:end]] = rows.data[begin:end]
        return values

    return Sample(column, target, classes=np.unique(target).size <= _CLASSES)
