"""Some of the training examples, from whatever the training call was given."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradtracer.analyzers.booster_facts import BoosterFacts, Sample
from gradtracer.analyzers.tree_table import Floats
from gradtracer.statistics.held_out_splits import HeldOutMargins

_EXAMPLES = 2_000
_FOLLOWED = 500
"""Held-out examples that are followed down every tree: all trees of a training, as it goes on."""
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


def last_sample(eval_sets: Any) -> Sample | None:
    """Examples of the last pair of a table and a target, as estimators are given them."""
    try:
        x, y = (eval_sets if isinstance(eval_sets, tuple) else eval_sets[-1])[:2]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return sample_of(x, y)


def margins_of(facts: BoosterFacts, features: int) -> HeldOutMargins | None:
    """What follows held-out examples down the trees; None where none are at hand as numbers."""
    found = examples_of(facts, features, most=_FOLLOWED)
    return None if found is None else HeldOutMargins(*found, strict=facts.library == "xgboost")


def examples_of(
    facts: BoosterFacts, features: int, *, most: int | None
) -> tuple[Floats, Floats] | None:
    """Held-out examples `[n, F]` and their targets `[n]`, at most so many; None for no numbers."""
    sample = facts.held_out
    if sample is None:
        return None
    try:
        target = np.asarray(sample.target, dtype=np.float64)
        kept = target.size if most is None else min(target.size, most)
        at = np.linspace(0, target.size - 1, kept).round().astype(np.int64)
        columns = [
            np.asarray(sample.column(index), dtype=np.float64)[at] for index in range(features)
        ]
    except (IndexError, TypeError, ValueError):
        return None
    x = np.stack(columns, axis=1) if columns else np.zeros((at.size, 0))
    return x, target[at]
