"""FeatureAnalyzer: planted interactions are found, and only what pays is suggested."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LinearRegression, LogisticRegression

import gradtracer
from gradtracer import FeatureAnalyzer, NothingToWatch
from gradtracer.statistics.collinearity import variance_inflation
from gradtracer.statistics.synergy import permutation_synergy
from gradtracer.statistics.validated_gain import validated_gain

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1_500, 5))
NOISE = 0.3 * RNG.normal(size=1_500)
PRODUCT = X[:, 0] * X[:, 1] + X[:, 2] + NOISE
ADDITIVE = X[:, 0] + np.sin(X[:, 1]) + X[:, 2] + NOISE


def small(y: np.ndarray, **more: Any) -> Any:
    model = lightgbm.LGBMRegressor(n_estimators=60, num_leaves=8, n_jobs=1, verbose=-1, **more)
    return model.fit(X, y)


def test_the_planted_pair_is_the_strongest() -> None:
    found = FeatureAnalyzer(small(PRODUCT), X, PRODUCT).interactions()
    strongest = found[0]
    assert {strongest["feat_a"], strongest["feat_b"]} == {"feature_0", "feature_1"}
    assert strongest["p_value"] < 0.001
    assert strongest["synergy_score"] > 5 * found[1]["synergy_score"]
    assert strongest["combined_drop"] == pytest.approx(
        strongest["individual_a"] + strongest["individual_b"] - strongest["synergy_score"]
    )


def test_paths_alone_name_it_too_without_a_prediction() -> None:
    found = FeatureAnalyzer(small(PRODUCT), X, PRODUCT).interactions(1, method="paths")
    assert {found[0]["feat_a"], found[0]["feat_b"]} == {"feature_0", "feature_1"}


def test_a_product_that_pays_is_suggested_with_its_interval() -> None:
    suggested = FeatureAnalyzer(small(PRODUCT), X, PRODUCT).suggest_features()
    best = suggested[0]
    assert best["expression"] in ("feature_0 * feature_1", "feature_1 * feature_0")
    assert 0 < best["interval"][0] < best["lift"] < best["interval"][1]
    assert best["p_value"] < 0.05 and best["vif"] < 10 and best["n"] == 1_500


def test_nothing_is_suggested_where_effects_only_add_up() -> None:
    assert FeatureAnalyzer(small(ADDITIVE), X, ADDITIVE).suggest_features() == []


def test_a_classifier_is_judged_by_its_probabilities() -> None:
    y = (PRODUCT > 0).astype(int)
    model = xgboost.XGBClassifier(n_estimators=30, max_depth=3, n_jobs=1).fit(X, y)
    analyzer = FeatureAnalyzer(model, pd.DataFrame(X, columns=list("abcde")), y)
    assert analyzer.task == "classification"
    assert {analyzer.interactions(1)[0][key] for key in ("feat_a", "feat_b")} == {"a", "b"}


def test_a_model_without_trees_is_asked_by_permutation() -> None:
    linear = LinearRegression().fit(X, ADDITIVE)
    found = FeatureAnalyzer(linear, X, ADDITIVE).interactions()
    assert all(np.isnan(each["path_share"]) for each in found)
    assert FeatureAnalyzer(linear, X, ADDITIVE).suggest_features() == []


def test_what_repeats_another_feature_is_named_with_the_one_to_keep() -> None:
    table = pd.DataFrame(X, columns=list("abcde")).assign(copy=X[:, 2] + 0.1 * X[:, 3])
    analyzer = FeatureAnalyzer(LinearRegression().fit(table, ADDITIVE), table, ADDITIVE)
    (pair,) = analyzer.redundant_features()
    assert (pair["keep"], pair["drop"]) == ("c", "copy")
    assert {each["feature"] for each in analyzer.multicollinearity()["warnings"]} >= {"c", "copy"}


def test_the_report_says_what_to_add(capsys: pytest.CaptureFixture[str]) -> None:
    FeatureAnalyzer(small(PRODUCT), X, PRODUCT).report()
    printed = capsys.readouterr().out
    assert "feature_0 with feature_1" in printed
    assert "Add feature_0 * feature_1: the loss falls by" in printed


def test_what_cannot_be_analysed_is_refused_with_what_to_pass() -> None:
    with pytest.raises(NothingToWatch, match="a fitted estimator with predict"):
        FeatureAnalyzer(object(), X, PRODUCT)
    words = pd.DataFrame({"a": ["x", "y"] * 10})
    with pytest.raises(NothingToWatch, match="encode categories first"):
        FeatureAnalyzer(LogisticRegression(), words, np.zeros(20))
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, PRODUCT), 20)
    with pytest.raises(NothingToWatch, match="can be fitted anew"):
        FeatureAnalyzer(booster, X, PRODUCT).suggest_features()


def test_variance_inflation_follows_the_fit_of_the_others() -> None:
    half = X[:, 0] + RNG.normal(size=1_500)
    assert variance_inflation(half, X) == pytest.approx(2.0, rel=0.15)
    assert variance_inflation(RNG.normal(size=1_500), X) == pytest.approx(1.0, abs=0.02)
    assert variance_inflation(X[:, 0] - X[:, 1], X) == float("inf")
    assert variance_inflation(np.ones(1_500), X) == float("inf")
    assert variance_inflation(X[:8, 0], X[:8]) == float("inf")


def test_synergy_of_a_product_is_what_it_is_worth() -> None:
    """Of E[(xy)^2] = 1 each permutation loses 2, both together 2 as well."""
    y = X[:, 0] * X[:, 1]

    def loss(table: np.ndarray) -> float:
        return float(np.square(table[:, 0] * table[:, 1] - y).mean())

    product = permutation_synergy(loss, X, 0, 1)
    assert product.value == pytest.approx(2 * np.square(y).mean(), rel=0.3)
    assert product.p_value < 1e-6
    nothing = permutation_synergy(loss, X, 2, 3)
    assert nothing.value == 0.0 and nothing.p_value == 1.0


def test_the_interval_of_a_feature_of_noise_covers_zero() -> None:
    def fit(table: np.ndarray, rows: Any, held: Any) -> float:
        model = LinearRegression().fit(table[rows], ADDITIVE[rows])
        return float(np.square(model.predict(table[held]) - ADDITIVE[held]).mean())

    covered = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=1_500)
        gain = validated_gain(fit, X, np.column_stack([X, noise]), seed=seed)
        covered += gain.interval[0] <= 0
    assert covered >= 57


def test_it_is_at_the_top() -> None:
    assert gradtracer.FeatureAnalyzer is FeatureAnalyzer
