"""TreeDynamicsTracker: a fitted ensemble, read once and judged by the same tests as a live one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.metric_curves import Series, choose
from gradtracer.analyzers.tree_figures import TreeFigures, TreeTotals, measure
from gradtracer.analyzers.tree_parameters import parameters_of
from gradtracer.analyzers.tree_reading import ReadModel, library_of, read_model
from gradtracer.analyzers.tree_report import tree_report
from gradtracer.analyzers.tree_sample import last_sample, sample_of
from gradtracer.analyzers.tree_table import Integers
from gradtracer.diagnoses import trees as examiners
from gradtracer.diagnoses.finding import Finding
from gradtracer.project import main_script, project_root
from gradtracer.settings import Settings, load_settings
from gradtracer.statistics.path_pairs import PathPairs

_TOP_SPLITS = 5


class _Sums(NamedTuple):
    totals: TreeTotals
    pairs: PathPairs
    splits: Integers
    """`[F]` how often each feature is split on."""
    leaf_variance: float
    """Plain variance of all leaf values; 0 without any."""


class TreeDynamicsTracker:
    """Reads a fitted model of XGBoost, LightGBM or CatBoost, or one loaded from a file.

    Args:
        model: a booster or a scikit-learn estimator.
        feature_names: names of the columns; by default those the model knows.
        evals: metrics by data set and round, where the model does not keep them itself:
            `evals_result` of `xgb.train`, what `lgb.record_evaluation` filled.
        X: `[n, F]` examples, on which a leak is proven.
        y: `[n]` their targets.
        held_out: `(X, y)` of the data set that `evals` tells of last, on which splits are judged.

    Raises:
        NothingToWatch: it is no such model, or not fitted.
    """

    def __init__(
        self,
        model: Any,
        feature_names: Sequence[str] | None = None,
        *,
        evals: Series | None = None,
        X: Any = None,
        y: Any = None,
        held_out: tuple[Any, Any] | None = None,
        settings: Settings | None = None,
    ) -> None:
        names = None if feature_names is None else list(feature_names)
        self._read: ReadModel = read_model(model, names)
        self.model = model
        self.library = self._read.library
        self.name = type(model).__name__
        self.feature_names = self._read.names
        self._sample = sample_of(X, y) if X is not None and y is not None else None
        self._held_out = last_sample(held_out)
        self._evals = recorded_metrics(model) if evals is None else evals
        self._settings = (
            load_settings(project_root(main_script())) if settings is None else settings
        )

    @cached_property
    def figures(self) -> TreeFigures:
        """Everything measured."""
        read, totals = self._read, self._sums.totals
        training, validation = choose(self._evals, last=read.library == "xgboost")
        return measure(
            self.name,
            totals.facts,
            read.names,
            totals,
            training,
            validation,
            self._settings.leakage_share,
        )

    @cached_property
    def _sums(self) -> _Sums:
        """Over all trees, gone through once."""
        read = self._read
        parameters, stops_early = parameters_of(self.model)
        facts = BoosterFacts(
            read.library,
            self.name,
            parameters=parameters,
            stops_early=stops_early,
            sample=self._sample,
            held_out=self._held_out,
        )
        features = len(read.names)
        totals, pairs = TreeTotals(facts), PathPairs(features)
        splits = np.zeros(features, dtype=np.int64)
        leaves: list[tuple[int, float, float]] = []
        for table in read.tables:
            totals.add(table, features)
            pairs.add(table)
            for rows in table.stretches():
                splits += np.bincount(table.feature[table.inner_of(rows)], minlength=features)
                value = table.value[table.leaves_of(rows)]
                if value.size:
                    leaves.append((value.size, float(value.mean()), float(value.var())))
        return _Sums(totals, pairs, splits, _variance(leaves))

    def findings(self) -> list[Finding]:
        """What the tests say."""
        return examiners.examine(self.figures, self._settings)

    # As in the original system.

    def extract_dynamics(self) -> dict[str, Any]:
        """The original's keys, and ours beside them.

        They are num_trees, total_leaves, max_depth_reached, leaf_variance, top_splits.
        `leaf_variance` is the plain variance of all leaf values, `top_splits` counts splits of the
        five features split on most.
        """
        figures, counts = self.figures, self._sums.splits
        most = np.argsort(-counts, kind="stable")[:_TOP_SPLITS]
        return {
            "num_trees": figures.trees,
            "total_leaves": figures.leaves,
            "max_depth_reached": figures.deepest,
            "leaf_variance": self._sums.leaf_variance,
            "top_splits": {
                self.feature_names[i]: int(counts[i]) for i in most.tolist() if counts[i]
            },
            "num_rounds": figures.rounds,
            "leaf_velocity": figures.velocity.tolist(),
            "gain_shares": self.gain_shares(),
            "interactions": self.interaction_saliency()[:_TOP_SPLITS],
        }

    def analyze(self) -> dict[str, Any]:
        """`extract_dynamics`, under the name of its method in the original's `TreeTracker`."""
        dynamics = self.extract_dynamics()
        return {**dynamics, "max_depth": dynamics["max_depth_reached"]}

    def gain_shares(self) -> dict[str, float]:
        """Share of the gain by feature, the largest first; features without any left out."""
        shares = self.figures.shares
        if shares is None:
            return {}
        order = np.argsort(-shares.share, kind="stable")
        return {
            self.feature_names[i]: float(shares.share[i]) for i in order.tolist() if shares.share[i]
        }

    def feature_lifetimes(self) -> dict[str, tuple[int, int]]:
        """First and last round, from 1, in which each feature is split on."""
        gain = self.figures.gain
        if gain is None:
            return {}
        spans = zip(self.feature_names, gain.first.tolist(), gain.last.tolist(), strict=False)
        return {name: (first + 1, last + 1) for name, first, last in spans if first >= 0}

    def interaction_saliency(self, top: int = 20) -> list[tuple[str, str, float]]:
        """Pairs of features split on one below the other, with their share of the gain."""
        return [
            (self.feature_names[one], self.feature_names[other], share)
            for one, other, share in self._sums.pairs.strongest(top)
        ]

    def report(self) -> None:
        """Print a report to standard output."""
        print(tree_report(self.figures, self.findings()))  # noqa: T201


def _variance(parts: list[tuple[int, float, float]]) -> float:
    """Of all values, by the number, mean and variance of those in each part."""
    if not parts:
        return 0.0
    size, mean, variance = np.array(parts).T
    apart = np.square(mean - np.average(mean, weights=size))
    return float(np.average(variance + apart, weights=size))


def recorded_metrics(model: Any) -> Series:
    """The metrics that a fitted estimator keeps; none for a bare booster."""
    if library_of(model) is None:
        return {}
    for name in ("evals_result_", "evals_result"):
        if not hasattr(type(model), name):
            continue
        try:
            kept: Any = getattr(model, name)
            told: Any = kept() if callable(kept) else kept
            return told or {}
        except Exception:  # each library has an error of its own for "no eval set was given"
            continue
    ask: Any = getattr(model, "get_evals_result", None)
    told: Any = ask() if ask is not None else {}
    return told or {}
