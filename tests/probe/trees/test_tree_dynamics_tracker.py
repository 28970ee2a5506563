"""TreeDynamicsTracker: the original's keys, our findings, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

import gradtracer
from gradtracer import AgentExporter, NothingToWatch, TreeDynamicsTracker

LIBRARIES = ("xgboost", "lightgbm", "catboost")
ORIGINAL_KEYS = {
    "num_trees", "total_leaves", "max_depth_reached", "leaf_variance", "top_splits",
}  # fmt: skip
Train = Callable[..., Any]
X = np.random.default_rng(0).normal(size=(300, 4))
Y = X[:, 0] + X[:, 1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_originals_keys_are_there_and_right(library: str, train: Train, smooth: Any) -> None:
    trained = train(library, smooth(0), rounds=50, depth=3)
    dynamics = TreeDynamicsTracker(trained.model).extract_dynamics()
    assert dynamics.keys() >= ORIGINAL_KEYS
    assert dynamics["num_trees"] == 50
    assert dynamics["max_depth_reached"] == 3
    assert 50 * 4 < dynamics["total_leaves"] <= 50 * 8
    assert 0 < dynamics["leaf_variance"] < 1
    assert set(dynamics["top_splits"]) <= {f"col{i}" for i in range(10)}
    assert sum(dynamics["gain_shares"].values()) == pytest.approx(1.0)


def test_top_splits_count_splits() -> None:
    booster = xgboost.train({"max_depth": 3}, xgboost.DMatrix(X, Y), 20)
    counted = TreeDynamicsTracker(booster).extract_dynamics()["top_splits"]
    assert counted == booster.get_score(importance_type="weight")


@pytest.mark.parametrize("library", LIBRARIES)
def test_features_live_from_their_first_split_to_their_last(
    library: str, train: Train, smooth: Any
) -> None:
    lives = TreeDynamicsTracker(train(library, smooth(0), rounds=50).model).feature_lifetimes()
    assert all(1 <= first <= last <= 50 for first, last in lives.values())
    assert min(first for first, _ in lives.values()) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_given_are_used(library: str, train: Train, smooth: Any) -> None:
    given = [f"given{i}" for i in range(10)]
    tracker = TreeDynamicsTracker(train(library, smooth(0), rounds=20).model, given)
    assert tracker.feature_names == given
    assert set(tracker.gain_shares()) <= set(given)
    (one, other, share), *_ = tracker.interaction_saliency()
    assert {one, other} <= set(given) and 0 < share < 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_report_names_the_model_and_its_findings(
    library: str, train: Train, smooth: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train(library, smooth(1, n=600, noise=3.0), rounds=150, rate=0.2, depth=6)
    TreeDynamicsTracker(trained.model, evals=trained.evals).report()
    printed = capsys.readouterr().out
    assert printed.startswith(f"GradTracer: {type(trained.model).__name__}, 150 trees")
    assert "OVERFITTING_ROUNDS" in printed


def test_export_is_json_with_evidence_or_a_clean_bill(train: Train, smooth: Any) -> None:
    bad = train("xgboost", smooth(1, n=600, noise=3.0), rounds=150, rate=0.2, depth=6)
    report = json.loads(AgentExporter.export_trees(TreeDynamicsTracker(bad.model, evals=bad.evals)))
    (found,) = report["gradtracer_tree_report"]["diagnostics"]
    assert found["type"] == "OVERFITTING_ROUNDS"
    assert found["evidence"][0]["n"] == 150
    good = TreeDynamicsTracker(train("xgboost", smooth(2), rounds=30).model)
    report = json.loads(AgentExporter.export_trees(good))
    assert report["gradtracer_tree_report"]["diagnostics"]["status"].startswith("HEALTHY")


def test_metrics_that_an_estimator_keeps_are_used(smooth: Any) -> None:
    split = smooth(1, n=600, noise=3.0)
    data = [(split.x, split.y), (split.x_valid, split.y_valid)]
    model = xgboost.XGBRegressor(n_estimators=150, learning_rate=0.2, n_jobs=1)
    model.fit(split.x, split.y, eval_set=data, verbose=False)
    tracker = TreeDynamicsTracker(model)
    assert "OVERFITTING_ROUNDS" in {finding.type for finding in tracker.findings()}
    assert tracker.figures.facts.parameters["learning_rate"] == pytest.approx(0.2)


def test_an_estimator_that_stops_early_is_not_told_to() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 5)), rng.normal(size=400)
    model = xgboost.XGBRegressor(n_estimators=80, early_stopping_rounds=60, n_jobs=1)
    model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    tracker = TreeDynamicsTracker(model)
    assert tracker.figures.facts.stops_early
    assert "OVERFITTING_ROUNDS" not in {finding.type for finding in tracker.findings()}


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(),
        lightgbm.LGBMRegressor(),
        catboost.CatBoostClassifier(),
        xgboost.XGBRanker(),
    ],
)
def test_an_estimator_that_is_not_fitted_is_refused_with_what_to_do(model: Any) -> None:
    with pytest.raises(NothingToWatch, match="not fitted yet: call fit first"):
        TreeDynamicsTracker(model)


@pytest.mark.parametrize("model", [None, 3, "booster", np.zeros(3), {}])
def test_what_is_no_model_is_refused(model: object) -> None:
    with pytest.raises(NothingToWatch, match="expected a model of xgboost, lightgbm or catboost"):
        TreeDynamicsTracker(model)


def test_a_linear_booster_is_refused_by_name() -> None:
    booster = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(X, Y), 3)
    with pytest.raises(NothingToWatch, match="booster='gblinear', which has none"):
        TreeDynamicsTracker(booster)


def test_a_model_of_no_trees_has_no_figures_and_no_findings() -> None:
    data = xgboost.DMatrix(X, Y)
    tracker = TreeDynamicsTracker(xgboost.Booster({"max_depth": 2}, [data]))
    assert tracker.findings() == []
    dynamics = tracker.extract_dynamics()
    assert (dynamics["num_trees"], dynamics["total_leaves"], dynamics["top_splits"]) == (0, 0, {})


def flat(library: str, rounds: int = 60) -> Any:
    y = np.full(300, 2.5)
    if library == "xgboost":
        return xgboost.train({"max_depth": 3}, xgboost.DMatrix(X, y), rounds)
    if library == "catboost":
        model = catboost.CatBoostRegressor(
            iterations=rounds,
            verbose=0,
            allow_const_label=True,
            bootstrap_type="No",
            allow_writing_files=False,
        )
        return model.fit(X, y)
    return lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), rounds)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_constant_target_moves_nothing_and_breaks_nothing(library: str) -> None:
    tracker = TreeDynamicsTracker(flat(library))
    assert tracker.figures.velocity.max(initial=0.0) == pytest.approx(0.0, abs=1e-6)
    assert tracker.gain_shares() == {} or max(tracker.gain_shares().values()) <= 1.0
    assert "TARGET_LEAKAGE" not in {finding.type for finding in tracker.findings()}


@pytest.mark.parametrize("library", LIBRARIES)
def test_features_that_are_not_numbers_are_read_all_the_same(
    library: str, train: Train, smooth: Any
) -> None:
    split = smooth(3)
    split.x[::3, 0] = np.nan
    split.x[:, 4] = np.nan
    tracker = TreeDynamicsTracker(train(library, split, rounds=30).model)
    assert np.isfinite(tracker.figures.velocity).all()
    assert "col4" not in tracker.gain_shares()


def test_an_objective_of_ones_own_is_read_all_the_same() -> None:
    def objective(margin: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        return margin - data.get_label(), np.ones_like(margin)

    booster = xgboost.train({"max_depth": 3}, xgboost.DMatrix(X, Y), 20, obj=objective)
    assert TreeDynamicsTracker(booster).figures.rounds == 20


def test_it_is_at_the_top() -> None:
    assert gradtracer.TreeDynamicsTracker is TreeDynamicsTracker
