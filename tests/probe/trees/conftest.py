"""Real boosters of the three libraries on small planted data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from boosting_journal import Journal

from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.run import open_run

LIBRARIES = ("xgboost", "lightgbm", "catboost")


class Trained(NamedTuple):
    """A booster and the metrics by data set and round."""

    model: Any
    evals: dict[str, dict[str, list[float]]]


class Split(NamedTuple):
    """Examples for training and for validation."""

    x: np.ndarray
    y: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray


def halves(x: np.ndarray, y: np.ndarray) -> Split:
    n = len(y) // 2
    return Split(x[:n], y[:n], x[n:], y[n:])


def names(split: Split) -> list[str]:
    return [f"col{i}" for i in range(split.x.shape[1])]


def train(
    library: str,
    split: Split,
    *,
    rounds: int = 60,
    rate: float = 0.1,
    depth: int = 4,
    binary: bool = False,
    seed: int = 0,
    **more: Any,
) -> Trained:
    """Train as each library likes it, with training and validation metrics."""
    columns = names(split)
    if library == "xgboost":
        dtrain = xgboost.DMatrix(split.x, split.y, feature_names=columns)
        dvalid = xgboost.DMatrix(split.x_valid, split.y_valid, feature_names=columns)
        evals: dict[str, Any] = {}
        booster = xgboost.train(
            {
                "objective": "binary:logistic" if binary else "reg:squarederror",
                "eta": rate,
                "max_depth": depth,
                "seed": seed,
                "nthread": 1,
                **more,
            },
            dtrain,
            rounds,
            evals=[(dtrain, "train"), (dvalid, "valid")],
            evals_result=evals,
            verbose_eval=False,
        )
        return Trained(booster, evals)
    if library == "lightgbm":
        data = lightgbm.Dataset(split.x, split.y, feature_name=columns)
        valid = data.create_valid(split.x_valid, split.y_valid)
        evals = {}
        booster = lightgbm.train(
            {
                "objective": "binary" if binary else "regression",
                "learning_rate": rate,
                "max_depth": depth,
                "num_leaves": 2**depth,
                "seed": seed,
                "verbose": -1,
                "num_threads": 1,
                **more,
            },
            data,
            rounds,
            valid_sets=[data, valid],
            valid_names=["train", "valid"],
            callbacks=[lightgbm.record_evaluation(evals)],
        )
        return Trained(booster, evals)
    kind = catboost.CatBoostClassifier if binary else catboost.CatBoostRegressor
    model = kind(
        iterations=rounds,
        learning_rate=rate,
        depth=depth,
        random_seed=seed,
        thread_count=1,
        verbose=0,
        allow_writing_files=False,
        use_best_model=False,
        **more,
    )
    pool = catboost.Pool(split.x, split.y, feature_names=columns)
    model.fit(pool, eval_set=catboost.Pool(split.x_valid, split.y_valid, feature_names=columns))
    return Trained(model, model.get_evals_result())


Train = Callable[..., Trained]
Types = Callable[[Trained], set[str]]


@pytest.fixture(name="train")
def train_fixture() -> Train:
    return train


@pytest.fixture(name="halves")
def halves_fixture() -> Callable[[np.ndarray, np.ndarray], Split]:
    return halves


@pytest.fixture
def smooth() -> Callable[..., Split]:
    """Additive data with noise: nothing is wrong with a short training on it."""

    def smooth(seed: int, n: int = 2_000, features: int = 10, noise: float = 0.3) -> Split:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, features))
        y = np.sin(x[:, :5]).sum(axis=1) + 0.5 * x[:, 1] * x[:, 2] + noise * rng.normal(size=n)
        return halves(x, y)

    return smooth


@pytest.fixture
def types() -> Types:
    """The types of what the tests say of a training."""

    def types(trained: Trained) -> set[str]:
        tracker = TreeDynamicsTracker(trained.model, evals=trained.evals)
        return {finding.type for finding in tracker.findings()}

    return types


def leaves_reached(table: Any, x: np.ndarray, *, strictly_left: bool) -> Sequence[np.ndarray]:
    """Row of the leaf of each example, tree by tree, by the table alone."""
    roots = np.searchsorted(table.tree, np.arange(table.trees))
    reached = []
    for root in roots:
        at = np.full(len(x), root)
        while (inner := np.flatnonzero(table.feature[at] >= 0)).size:
            value = x[inner, table.feature[at[inner]]]
            border = table.threshold[at[inner]]
            left = value < border if strictly_left else value <= border
            at[inner] = np.where(left, table.left[at[inner]], table.right[at[inner]])
        reached.append(at)
    return reached


@pytest.fixture
def margin() -> Callable[..., np.ndarray]:
    """`[n, outputs]` margin by the table alone, up to a constant."""

    def margin(table: Any, x: np.ndarray, outputs: int, *, strictly_left: bool) -> np.ndarray:
        total = np.zeros((len(x), outputs))
        for tree, at in enumerate(leaves_reached(table, x, strictly_left=strictly_left)):
            value = table.value[at]
            if value.shape[1] == outputs and outputs > 1:
                total += value
            else:
                total[:, table.output[tree]] += value[:, 0]
        return total

    return margin


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRADTRACER_PUBLISH", "false")
    monkeypatch.setenv("GRADTRACER_REPORT_SECONDS", "0.05")
    if (run := open_run()) is not None:
        run.finish()
    yield Journal(tmp_path)
    if (run := open_run()) is not None:
        run.finish()
