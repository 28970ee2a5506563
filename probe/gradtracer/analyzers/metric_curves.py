"""Metrics of a boosting run by round, and which of them says how well it generalises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats

Series = dict[str, dict[str, Sequence[object]]]
"""Values by data set and metric, one a round; the library's own, which it goes on extending."""

_HIGHER = re.compile(
    r"^(binary_|multi_)?(auc|aucpr|auc_mu|pr_?auc|qauc|average_precision|accuracy|balancedaccuracy"
    r"|precision|recall|f1?|totalf1|mcc|kappa|wkappa|r2|ndcg|dcg|map|pre|prec(ision)?at|recallat"
    r"|averagegain|mrr|err|pfound|queryauc|normalizedgini|interval-regression-accuracy|cox-nloglik\+)([:@].*|\d*)?$"
)
_LOWER = re.compile(
    r"^(binary_|multi_|m)?(log_?loss|error(@.*)?|rmsle|rmse|mae|mape|mphe|l1|l2|quantile|huber|fair"
    r"|poisson|gamma|tweedie|gamma[-_]?deviance|poisson-nloglik|gamma-nloglik|cox-nloglik"
    r"|cross_?entropy|crossentropy_lambda|kullback_leibler|multiclass|multirmse|zeroone?loss|hinge"
    r"|tweedie-nloglik.*|loglinquantile|smape|msle|expectile.*"
    r"|medianabsoluteerror|multiquantile|lq.*|focal)([:@].*)?$"
)
_TRAINING = re.compile(r"^(d?train(ing)?|learn|fit)\b|_train$|^train", re.IGNORECASE)


class Curve(NamedTuple):
    """One metric on one data set."""

    data: str
    metric: str
    values: Floats
    """`[T]` as the library gives them."""
    higher_is_better: bool | None
    """None for a metric of the user's own, whose sense is not known."""

    @property
    def falling(self) -> Floats:
        """`[T]` turned so that lower is better."""
        return -self.values if self.higher_is_better else self.values


def higher_is_better(metric: str) -> bool | None:
    """Sense of a metric by the name that one of the three libraries gives it."""
    name = metric.lower().removesuffix("-")
    if _LOWER.match(name):
        return False
    return True if _HIGHER.match(name) else None


def is_training(data: str) -> bool:
    """Whether a data set is called as people and libraries call the one that is trained on."""
    return _TRAINING.search(data) is not None


def choose(
    series: Series, *, training: str | None = None, last: bool = False
) -> tuple[Curve | None, Curve | None]:
    """Training and validation curve of the metric that early stopping would look at.

    That is the last metric of the last data set in XGBoost (`last`), and the first metric
    elsewhere. `training` names the data set that is trained on, where that is known.
    """
    trained = [name for name in series if name == training]
    trained = trained or [name for name in series if is_training(name)]
    others = [name for name in series if name not in trained]
    validation = _curve(series, others[-1], None, last) if others else None
    metric = validation.metric if validation is not None else None
    return (_curve(series, trained[0], metric, last) if trained else None), validation


def _curve(series: Series, data: str, metric: str | None, last: bool) -> Curve | None:
    metrics = series[data]
    if not metrics:
        return None
    names = list(metrics)
    name = metric if metric in metrics else names[-1] if last else names[0]
    return Curve(data, name, _numbers(metrics[name]), higher_is_better(name))


def _numbers(values: Sequence[object]) -> Floats:
    """Cross-validation gives pairs of mean and deviation: the means."""
    means: list[Any] = [value[0] if isinstance(value, tuple) else value for value in list(values)]
    return np.array(means, dtype=np.float64)


def latest(series: Series) -> dict[str, float]:
    """The last value of each, as `data-metric`."""
    found: dict[str, float] = {}
    for data, metrics in list(series.items()):
        for metric, values in list(metrics.items()):
            if values:
                found[f"{data}-{metric}"] = float(_numbers(values[-1:])[0])
    return found
