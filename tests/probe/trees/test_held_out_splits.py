"""Splits are judged on held-out examples that are followed down the trees of a real training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

import gradtracer
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.statistics.held_out_splits import HeldOutMargins, Simpler

LIBRARIES = ["xgboost", "lightgbm", "catboost"]


def planted(seed: int, noise: float, *, binary: bool = False, crossed: float = 0.5) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3_000, 6))
    y = np.sin(x[:, :4]).sum(axis=1) + crossed * x[:, 1] * x[:, 2]
    y = y + noise * rng.normal(size=3_000)
    return x, (y > 0).astype(int) if binary else y


def margins(library: str, model: Any, x: np.ndarray, y: np.ndarray) -> HeldOutMargins:
    made = HeldOutMargins(x, y.astype(float), strict=library == "xgboost")
    made.add(read_model(model).table)
    return made


def raw(library: str, model: Any, x: np.ndarray) -> np.ndarray:
    if library == "xgboost":
        return model.predict(
            xgboost.DMatrix(x, feature_names=model.feature_names), output_margin=True
        )
    if library == "lightgbm":
        return model.predict(x, raw_score=True)
    return model.predict(x, prediction_type="RawFormulaVal")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_margin_of_all_splits_is_the_librarys_own_up_to_a_constant(
    train: Any, halves: Any, library: str, binary: bool
) -> None:
    split = halves(*planted(0, 1.0, binary=binary))
    model = train(library, split, rounds=30, rate=0.2, depth=4, binary=binary).model
    followed = margins(library, model, split.x_valid[:400], split.y_valid[:400])
    differ = np.sum(followed._steps, axis=0) - raw(library, model, split.x_valid[:400])
    assert np.ptp(differ) < 1e-4


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_cut_at_a_depth_stays_with_the_mean_of_the_leaves_below(
    train: Any, halves: Any, library: str
) -> None:
    split = halves(*planted(1, 1.0))
    model = train(library, split, rounds=4, rate=0.2, depth=4).model
    table, x = read_model(model).table, split.x_valid[:120]
    followed = margins(library, model, x, split.y_valid[:120])

    def mean(row: int) -> tuple[float, float]:
        if table.left[row] < 0:
            return table.cover[row], table.value[row, 0]
        (low, one), (high, other) = mean(table.left[row]), mean(table.right[row])
        return low + high, (low * one + high * other) / (low + high)

    for depth in range(len(followed._steps)):
        for example in (0, 7, 63):
            total = 0.0
            for root in np.flatnonzero(table.depth == 0).tolist():
                at, left = root, depth
                while left and table.left[at] >= 0:
                    value = np.float32(x[example, table.feature[at]])
                    border = np.float32(table.threshold[at])
                    lower = value < border if library == "xgboost" else value <= border
                    at, left = int((table.left if lower else table.right)[at]), left - 1
                total += mean(at)[1]
            cut = np.sum(followed._steps[: depth + 1], axis=0)[example]
            assert cut == pytest.approx(total, abs=1e-9)


def judged(train: Any, halves: Any, library: str, x: Any, y: Any, **how: Any) -> Any:
    split = halves(x, y)
    trained = train(library, split, **how)
    return TreeDynamicsTracker(
        trained.model, evals=trained.evals, held_out=(split.x_valid, split.y_valid)
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_deep_splits_that_fit_noise_are_said_and_fewer_are_offered(
    train: Any, halves: Any, library: str
) -> None:
    x, y = planted(2, 4.0)
    tracker = judged(train, halves, library, x[:1_600], y[:1_600], rounds=200, rate=0.3, depth=6)
    (finding,) = [each for each in tracker.findings() if each.type == "OVERFITTING_ROUNDS"]
    (evidence,) = [each for each in finding.evidence if each.statistic == "deep_splits_loss"]
    assert evidence.p_value is not None and evidence.p_value < 0.01 and evidence.value > 0
    (offer,) = [each for each in finding.fixes if each.parameters.get("parameter") == "max_depth"]
    assert 1 <= offer.parameters["value"] < 6
    assert offer.parameters["measured"] == 6
    assert f"below depth {offer.parameters['value']} taken back" in finding.action


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
def test_splits_that_hold_up_are_left_alone(
    train: Any, halves: Any, library: str, binary: bool
) -> None:
    x, y = planted(3, 0.3, binary=binary, crossed=1.0)
    how: dict[str, Any] = {"rounds": 40, "rate": 0.1, "depth": 3, "binary": binary}
    simpler = judged(train, halves, library, x, y, **how).figures.simpler
    assert simpler is not None
    assert simpler.depth is None or simpler.p_value > 0.01


def test_what_cannot_be_followed_or_compared_tells_nothing(train: Any, halves: Any) -> None:
    split = halves(*planted(5, 1.0))
    trained = train("xgboost", split, rounds=20, rate=0.2, depth=3)
    x, y = split.x_valid[:400], split.y_valid[:400]
    followed = margins("xgboost", trained.model, x, y)
    told = trained.evals["valid"]["rmse"][-1]
    assert isinstance(followed.simpler("rmse", told), Simpler)
    assert followed.simpler("rmse", 2 * told) is None
    assert followed.simpler("auc", told) is None
    assert followed.simpler("logloss", told) is None
    assert margins("xgboost", trained.model, x[:99], y[:99]).simpler("rmse", told) is None
    holes = np.where(np.arange(400)[:, None] < 350, np.nan, x)
    assert margins("xgboost", trained.model, holes, y).simpler("rmse", told) is None
    narrow = HeldOutMargins(x[:, :2], y, strict=True)
    narrow.add(read_model(trained.model).table)
    assert not narrow.followed


def test_categories_and_several_outputs_are_not_followed() -> None:
    rng = np.random.default_rng(6)
    x = np.stack([rng.integers(0, 5, 600), rng.normal(size=600)], axis=1).astype(float)
    y = (x[:, 0] == 2) + x[:, 1] + 0.1 * rng.normal(size=600)
    data = lightgbm.Dataset(x, y, categorical_feature=[0])
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 10)
    assert not margins("lightgbm", model, x, y).followed
    classes = np.digitize(y, [-0.5, 0.5])
    many = catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False)
    many.fit(x, classes)
    assert not margins("catboost", many, x, classes).followed


ESTIMATORS: list[Any] = [
    (
        lambda: xgboost.XGBRegressor(n_estimators=120, max_depth=6, n_jobs=1),
        lambda x, y: {"eval_set": [(x, y)], "verbose": False},
    ),
    (
        lambda: lightgbm.LGBMRegressor(
            n_estimators=120, max_depth=6, num_leaves=63, learning_rate=0.3, n_jobs=1, verbose=-1
        ),
        lambda x, y: {"eval_X": x, "eval_y": y},
    ),
    (
        lambda: catboost.CatBoostRegressor(
            iterations=120, depth=6, learning_rate=0.3, thread_count=1, verbose=0,
            use_best_model=False,
        ),
        lambda x, y: {"eval_set": (x, y)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "evals"), ESTIMATORS, ids=LIBRARIES)
def test_a_training_that_is_observed_has_its_own_validation_set_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, evals: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRADTRACER_PUBLISH", "false")
    x, y = planted(2, 4.0)
    model = make()
    run = gradtracer.watch(model)
    model.fit(x[:800], y[:800], **evals(x[800:1_600], y[800:1_600]))
    run.finish()
    (journal,) = tmp_path.glob(".gradtracer/runs/*/events.jsonl")
    told = [json.loads(line) for line in journal.read_bytes().splitlines()]
    # Raised without trees where a report comes before they are read, and then renewed.
    kinds = ("diagnosis_raised", "diagnosis_updated")
    raised = [each["body"] for each in told if each["kind"] in kinds]
    offered = [
        fix["parameters"]["parameter"]
        for each in raised
        if each["type"] == "OVERFITTING_ROUNDS"
        for fix in each["fixes"]
        if "parameter" in fix.get("parameters", {})
    ]
    assert "max_depth" in offered
