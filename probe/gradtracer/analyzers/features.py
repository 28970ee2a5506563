"""FeatureAnalyzer: which features work together, repeat each other, and would be worth adding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from gradtracer.analyzers.tree_reading import library_of, read_model
from gradtracer.analyzers.tree_table import Floats, Integers
from gradtracer.exceptions import NothingToWatch
from gradtracer.statistics.collinearity import variance_inflation
from gradtracer.statistics.path_pairs import PathPairs
from gradtracer.statistics.synergy import permutation_synergy
from gradtracer.statistics.validated_gain import validated_gain

_SAMPLE = 1_000
_PAIRS = 30
_MAX_VIF = 10.0
_LEVEL = 0.05
_SMALL = 1e-12

_OPERATIONS: dict[str, tuple[str, Callable[[Floats, Floats], Floats]]] = {
    "multiply": ("{} * {}", lambda a, b: a * b),
    "divide": ("{} / {}", lambda a, b: a / np.where(np.abs(b) > _SMALL, b, np.nan)),
    "absolute_difference": ("abs({} - {})", lambda a, b: np.abs(a - b)),
    "minimum": ("min({}, {})", np.minimum),
    "maximum": ("max({}, {})", np.maximum),
}
"""None is linear: a sum or difference would only repeat its parts, which the VIF shows."""


class FeatureAnalyzer:
    """Looks at a fitted model and the table of numbers it was fitted on.

    Args:
        model: a fitted estimator with `predict`; trees of the three libraries tell which pairs of
            features to look at, for any other model the pairs of its strongest features are.
        X: `[n, F]` numbers, an array or a DataFrame; NaN where the model takes it.
        y: `[n]`.
        feature_names: names of the columns; by default those of the DataFrame, else the model's.
        task: `classification` or `regression`; by default what the model is.

    Raises:
        NothingToWatch: the model cannot predict, or `X` holds what is no number.
    """

    def __init__(
        self,
        model: Any,
        X: Any,
        y: Any,
        feature_names: Sequence[str] | None = None,
        task: str | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if not hasattr(model, "predict"):
            raise NothingToWatch(
                f"expected a fitted estimator with predict, got {type(model).__name__}"
            )
        try:
            self.X: Floats = np.asarray(X, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise NothingToWatch(
                f"expected a table of numbers ({error}); encode categories first, e.g. "
                "X.apply(lambda c: c.cat.codes if c.dtype == 'category' else c)"
            ) from None
        self.y = np.asarray(y)
        self.model = model
        self.seed = seed
        columns = getattr(X, "columns", None)
        given = feature_names if feature_names is not None else columns
        names = range(self.X.shape[1]) if given is None else given
        self.feature_names = [f"feature_{n}" if given is None else str(n) for n in names]
        classifies = hasattr(model, "predict_proba") or hasattr(model, "classes_")
        self.task = task or ("classification" if classifies else "regression")

    def interactions(
        self, top_k: int = 10, method: str = "permutation", sample_size: int | None = None
    ) -> list[dict[str, Any]]:
        """Pairs that are worth more together, the strongest first.

        `{feat_a, feat_b, synergy_score, interaction_strength, individual_a, individual_b,
        combined_drop, p_value, path_share}` in units of the loss (log loss or squared error) on at
        most `sample_size` rows (1,000 by default). `method="paths"` looks at the trees alone.
        """
        pairs = self._pairs()
        if method == "paths":
            return [
                {
                    "feat_a": self.feature_names[a],
                    "feat_b": self.feature_names[b],
                    "synergy_score": share,
                    "interaction_strength": share,
                    "path_share": share,
                }
                for a, b, share in pairs[:top_k]
            ]
        rows = self._sample(sample_size or _SAMPLE)
        x, y = self.X[rows], self.y[rows]
        found: list[dict[str, Any]] = []
        for a, b, share in pairs:
            synergy = permutation_synergy(lambda table: self._loss(table, y), x, a, b, self.seed)
            found.append(
                {
                    "feat_a": self.feature_names[a],
                    "feat_b": self.feature_names[b],
                    "synergy_score": synergy.value,
                    "interaction_strength": abs(synergy.value),
                    "individual_a": synergy.alone[0],
                    "individual_b": synergy.alone[1],
                    "combined_drop": synergy.together,
                    "p_value": min(1.0, synergy.p_value * len(pairs)),
                    "path_share": share,
                }
            )
        found.sort(key=lambda each: -each["synergy_score"])
        return found[:top_k]

    def suggest_features(self, top_k: int = 5, max_vif: float = _MAX_VIF) -> list[dict[str, Any]]:
        """New features that pay by cross-validation, the most worthwhile first.

        Of pairs with significant synergy each operation is tried whose result the columns do not
        tell already (VIF at most `max_vif`). What is suggested lowers the loss with an interval
        above 0, at a level that counts every feature tried (Bonferroni). `{expression, operation,
        feat_a, feat_b, lift, interval, p_value, vif, n}`; `lift` is a share of the loss.

        Raises:
            NothingToWatch: the model cannot be fitted anew, as a bare booster.
        """
        from sklearn.base import clone

        try:
            clone(self.model)
        except TypeError:
            raise NothingToWatch(
                f"expected an estimator that can be fitted anew, got {type(self.model).__name__}; "
                "pass e.g. XGBClassifier(...).fit(X, y)"
            ) from None
        tried = self._candidates(max_vif)
        level = 1 - _LEVEL / max(1, len(tried))
        found: list[dict[str, Any]] = []
        for expression, operation, a, b, column, vif in tried:
            gain = validated_gain(
                self._fit, self.X, np.column_stack([self.X, column]), level=level, seed=self.seed
            )
            if gain.interval[0] > 0:
                found.append(
                    {
                        "expression": expression,
                        "operation": operation,
                        "feat_a": self.feature_names[a],
                        "feat_b": self.feature_names[b],
                        "lift": gain.value,
                        "interval": gain.interval,
                        "p_value": min(1.0, gain.p_value * len(tried)),
                        "vif": vif,
                        "n": gain.n,
                    }
                )
        found.sort(key=lambda each: -each["lift"])
        return found[:top_k]

    def multicollinearity(self, threshold: float = _MAX_VIF) -> dict[str, Any]:
        """`{"threshold": ..., "warnings": [{feature, vif}]}`: features that the others tell."""
        warnings: list[dict[str, Any]] = []
        for i, name in enumerate(self.feature_names):
            vif = variance_inflation(self.X[:, i], np.delete(self.X, i, axis=1))
            if vif > threshold:
                warnings.append({"feature": name, "vif": vif})
        warnings.sort(key=lambda each: -each["vif"])
        return {"threshold": threshold, "warnings": warnings}

    def redundant_features(self, threshold: float = 0.95) -> list[dict[str, Any]]:
        """Pairs correlated above `threshold`; of each the one to keep tells more of the target."""
        filled = np.where(np.isnan(self.X), np.nanmean(self.X, axis=0), self.X)
        _, target = np.unique(self.y, return_inverse=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            together = np.abs(np.corrcoef(np.column_stack([filled, target]), rowvar=False))
        together = np.nan_to_num(together)
        found: list[dict[str, Any]] = []
        for a, b in combinations(range(self.X.shape[1]), 2):
            if together[a, b] <= threshold:
                continue
            keep, drop = (a, b) if together[a, -1] >= together[b, -1] else (b, a)
            found.append(
                {
                    "feat_a": self.feature_names[a],
                    "feat_b": self.feature_names[b],
                    "correlation": float(together[a, b]),
                    "keep": self.feature_names[keep],
                    "drop": self.feature_names[drop],
                    "recommendation": f"Drop {self.feature_names[drop]!r}, keep "
                    f"{self.feature_names[keep]!r}",
                }
            )
        return sorted(found, key=lambda each: -each["correlation"])

    def report(self, top_interactions: int = 5, top_suggestions: int = 5) -> None:
        """Print interactions, suggestions and redundancies to standard output."""
        lines = [f"GradTracer: {len(self.feature_names)} features, {self.X.shape[0]:,} examples"]
        lines += [
            f"  {each['feat_a']} with {each['feat_b']}: synergy {each['synergy_score']:.3g} "
            f"(p = {each['p_value']:.2g})"
            for each in self.interactions(top_interactions)
        ]
        suggested = self.suggest_features(top_suggestions)
        lines += [
            f"Add {each['expression']}: the loss falls by {each['lift']:.1%} "
            f"[{each['interval'][0]:.1%}, {each['interval'][1]:.1%}]"
            for each in suggested
        ] or ["No feature that was tried pays by cross-validation."]
        lines += [each["recommendation"] for each in self.redundant_features()]
        print("\n".join(lines))  # noqa: T201

    def _pairs(self) -> list[tuple[int, int, float]]:
        if library_of(self.model) is not None:
            read = read_model(self.model)
            pairs = PathPairs(len(read.names))
            for table in read.tables:
                pairs.add(table)
            return [pair for pair in pairs.strongest(_PAIRS) if max(pair[:2]) < self.X.shape[1]]
        rows = self._sample(_SAMPLE)
        x, y = self.X[rows], self.y[rows]
        base, rng = self._loss(x, y), np.random.default_rng(self.seed)
        rises: list[float] = []
        for i in range(x.shape[1]):
            permuted = x.copy()
            permuted[:, i] = rng.permutation(x[:, i])
            rises.append(self._loss(permuted, y) - base)
        strongest = np.argsort(rises)[::-1][: int(math.sqrt(2 * _PAIRS)) + 1].tolist()
        return [(min(a, b), max(a, b), math.nan) for a, b in combinations(strongest, 2)]

    def _candidates(self, max_vif: float) -> list[tuple[str, str, int, int, Floats, float]]:
        tried: list[tuple[str, str, int, int, Floats, float]] = []
        for pair in self.interactions(3):
            if pair["p_value"] > _LEVEL:
                continue
            a, b = (self.feature_names.index(pair[key]) for key in ("feat_a", "feat_b"))
            for operation, (form, combine) in _OPERATIONS.items():
                column = combine(self.X[:, a], self.X[:, b])
                vif = variance_inflation(column, self.X)
                if vif <= max_vif:
                    expression = form.format(self.feature_names[a], self.feature_names[b])
                    tried.append((expression, operation, a, b, column, vif))
        return tried

    def _sample(self, size: int) -> Integers:
        n = self.X.shape[0]
        return np.random.default_rng(self.seed).permutation(n)[: min(size, n)]

    def _loss(self, x: Floats, y: Any) -> float:
        return self._loss_of(self.model, x, y)

    def _fit(self, x: Floats, rows: Integers, held: Integers) -> float:
        from sklearn.base import clone

        model: Any = clone(self.model)
        model.fit(x[rows], self.y[rows])
        return self._loss_of(model, x[held], self.y[held])

    def _loss_of(self, model: Any, x: Floats, y: Any) -> float:
        """Log loss where the model gives probabilities, share of errors, or squared error."""
        if self.task != "classification":
            return float(np.square(np.asarray(model.predict(x)).ravel() - y).mean())
        if not hasattr(model, "predict_proba"):
            return float((np.asarray(model.predict(x)).ravel() != y).mean())
        place = np.searchsorted(np.asarray(model.classes_), y)
        chance = np.asarray(model.predict_proba(x))[np.arange(len(y)), place]
        return float(-np.log(np.clip(chance, 1e-15, 1.0)).mean())
