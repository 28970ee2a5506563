"""The trees as read predict what the library predicts, in every mode of growth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from gradtracer.analyzers import tree_lightgbm, tree_xgboost
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.tree_table import concatenate
from gradtracer.analyzers.ubjson import decode

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6)).astype(np.float32)
Y = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=600)
CLASSES = np.digitize(Y, [-0.7, 0.7])
MULTI = np.stack([Y, X[:, 3] - X[:, 4]], axis=1)

Margin = Callable[..., np.ndarray]


def xgb(objective: str, y: np.ndarray, **more: Any) -> xgboost.Booster:
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, **more}
    return xgboost.train(parameters, xgboost.DMatrix(X, y), 8)


def lgb(objective: str, y: np.ndarray, **more: Any) -> lightgbm.Booster:
    parameters = {"objective": objective, "num_leaves": 9, "verbose": -1, "num_threads": 1, **more}
    return lightgbm.train(parameters, lightgbm.Dataset(X, y), 8)


def cat(kind: Any, y: np.ndarray, **more: Any) -> Any:
    model = kind(
        iterations=8, depth=3, verbose=0, thread_count=1, allow_writing_files=False, **more
    )
    return model.fit(X, y)


def same_up_to_a_constant(one: np.ndarray, other: np.ndarray) -> bool:
    apart = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    return bool(np.all(apart.std(axis=0) < 1e-5))


@pytest.mark.parametrize(
    ("objective", "y", "outputs", "more"),
    [
        ("reg:squarederror", Y, 1, {}),
        ("binary:logistic", (Y > 0).astype(int), 1, {}),
        ("multi:softprob", CLASSES, 3, {"num_class": 3}),
        ("multi:softprob", CLASSES, 3, {"num_class": 3, "num_parallel_tree": 2}),
        ("reg:squarederror", Y, 1, {"booster": "dart", "rate_drop": 0.5}),
        ("reg:squarederror", Y, 1, {"grow_policy": "lossguide", "max_leaves": 9}),
        ("reg:squarederror", Y, 1, {"tree_method": "exact", "gamma": 20.0}),
        ("reg:squarederror", MULTI, 2, {"multi_strategy": "multi_output_tree"}),
    ],
)
def test_xgboost_is_read_as_it_predicts(
    margin: Margin, objective: str, y: np.ndarray, outputs: int, more: dict[str, Any]
) -> None:
    booster = xgb(objective, y, **more)
    table = read_model(booster).table
    own = booster.predict(xgboost.DMatrix(X), output_margin=True).reshape(len(X), outputs)
    assert same_up_to_a_constant(margin(table, X, outputs, strictly_left=True), own)
    assert table.rounds == 8


@pytest.mark.parametrize(
    ("objective", "y", "outputs", "more"),
    [
        ("regression", Y, 1, {}),
        ("binary", (Y > 0).astype(int), 1, {}),
        ("multiclass", CLASSES, 3, {"num_class": 3}),
        ("regression", Y, 1, {"boosting": "dart", "drop_rate": 0.5}),
        ("regression", Y, 1, {"min_gain_to_split": 30.0}),
    ],
)
def test_lightgbm_is_read_as_it_predicts(
    margin: Margin, objective: str, y: np.ndarray, outputs: int, more: dict[str, Any]
) -> None:
    booster = lgb(objective, y, **more)
    table = read_model(booster).table
    own = np.asarray(booster.predict(X, raw_score=True)).reshape(len(X), outputs)
    assert same_up_to_a_constant(margin(table, X, outputs, strictly_left=False), own)


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_catboost_is_read_as_it_predicts(margin: Margin, policy: str, outputs: int) -> None:
    kind, y = (
        (catboost.CatBoostRegressor, Y) if outputs == 1 else (catboost.CatBoostClassifier, CLASSES)
    )
    model = cat(kind, y, grow_policy=policy)
    table = read_model(model).table
    own = np.asarray(model.predict(X, prediction_type="RawFormulaVal")).reshape(len(X), outputs)
    assert same_up_to_a_constant(margin(table, X, outputs, strictly_left=False), own)
    assert table.round.tolist() == list(range(8))


def test_cover_counts_the_examples_that_reach_a_node() -> None:
    for model in (lgb("regression", Y), cat(catboost.CatBoostRegressor, Y)):
        table = read_model(model).table
        roots = table.depth == 0
        assert table.cover[roots] == pytest.approx(len(X))
        inner = ~table.leaves
        children = table.cover[table.left[inner]] + table.cover[table.right[inner]]
        assert children == pytest.approx(table.cover[inner])


def test_gain_of_catboost_is_the_fall_of_the_sum_of_squares() -> None:
    table = read_model(cat(catboost.CatBoostRegressor, Y)).table
    row = int(np.flatnonzero(table.depth == 2)[0])
    low, high = table.left[row], table.right[row]
    w, v = table.cover[[low, high]], table.value[[low, high], 0]
    mean = (w * v).sum() / w.sum()
    assert table.gain[row] == pytest.approx((w * np.square(v - mean)).sum())


def test_slices_read_one_by_one_are_the_whole() -> None:
    booster = xgb("multi:softprob", CLASSES, num_class=3)
    parts = [tree_xgboost.unpack(booster[i : i + 2].save_raw("ubj"), i) for i in (0, 2, 4, 6)]
    other = lgb("multiclass", CLASSES, num_class=3)
    texts = [
        tree_lightgbm.unpack(other.model_to_string(start_iteration=i, num_iteration=2), i)
        for i in (0, 2, 4, 6)
    ]
    for pieces, model in ((parts, booster), (texts, other)):
        whole = read_model(model).table
        for column, expected in zip(concatenate(pieces), whole, strict=True):
            np.testing.assert_array_equal(column, expected)


def test_numbers_that_json_does_not_know_are_read_too() -> None:
    text = lgb("regression", Y).model_to_string()
    gain = re.search(r"split_gain=(\S+)", text)
    assert gain is not None
    table = tree_lightgbm.unpack(text.replace(gain[0], "split_gain=inf", 1))
    expected = tree_lightgbm.unpack(text)
    assert np.isinf(table.gain[0])
    np.testing.assert_array_equal(table.gain[1:], expected.gain[1:])


def test_nodes_that_pruning_left_behind_are_left_out() -> None:
    booster = xgb("reg:squarederror", Y, tree_method="exact", gamma=20.0)
    table = read_model(booster).table
    kept = sum(text.count("leaf=") for text in booster.get_dump())
    assert int(table.leaves.sum()) == kept
    assert (table.depth >= 0).all()


FRAME = pd.DataFrame(
    {
        "age": X[:, 0],
        "work": pd.Categorical(np.where(X[:, 1] > 0, "private", "state")),
        "late": np.where(np.abs(X[:, 2]) > 1, X[:, 2], 0.0),
    }
)


def test_feature_names_are_those_of_the_columns_in_every_library() -> None:
    y = Y + 3 * (FRAME["work"] == "private")
    models = [
        xgboost.XGBRegressor(n_estimators=4, enable_categorical=True, n_jobs=1).fit(FRAME, y),
        lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, n_jobs=1).fit(FRAME, y),
        catboost.CatBoostRegressor(
            iterations=4, verbose=0, cat_features=["work"], allow_writing_files=False
        ).fit(FRAME, y),
    ]
    for model in models:
        read = read_model(model)
        assert read.names[:3] == ["age", "work", "late"]
        inner = ~read.table.leaves
        gain = np.bincount(read.table.feature[inner], read.table.gain[inner])
        assert read.names[int(gain.argmax())] == "work"
        assert int(read.table.feature.max()) < len(read.names)


def test_a_categorical_split_has_no_border() -> None:
    y = 3.0 * (FRAME["work"] == "private")
    model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True, n_jobs=1).fit(FRAME, y)
    read = read_model(model)
    root = int(np.flatnonzero(read.table.depth == 0)[0])
    assert read.names[read.table.feature[root]] == "work"
    assert np.isnan(read.table.threshold[root])


def test_statistics_of_several_columns_are_named_after_all_of_them() -> None:
    rng = np.random.default_rng(1)
    shop, item = rng.integers(0, 12, size=(2, 3_000))
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=3_000),
            "shop": [f"s{each}" for each in shop],
            "item": [f"i{each}" for each in item],
        }
    )
    model = catboost.CatBoostClassifier(
        iterations=60,
        depth=6,
        learning_rate=0.1,
        cat_features=["shop", "item"],
        max_ctr_complexity=3,
        model_size_reg=0,
        verbose=0,
        thread_count=1,
        allow_writing_files=False,
    ).fit(frame, (((shop + item) % 2 == 0) | (shop < 2)).astype(int))
    read = read_model(model)
    assert read.names[:3] == ["number", "shop", "item"]
    both = read.names.index("shop & item")
    gain = np.bincount(read.table.feature + 1, read.table.gain)
    assert gain[1:].argmax() == both


def test_a_booster_loaded_from_a_file_reads_the_same(tmp_path: Path) -> None:
    booster, other = xgb("reg:squarederror", Y), lgb("regression", Y)
    model = cat(catboost.CatBoostRegressor, Y)
    booster.save_model(tmp_path / "x.ubj")
    other.save_model(str(tmp_path / "l.txt"))
    model.save_model(str(tmp_path / "c.cbm"))
    loaded = catboost.CatBoostRegressor()
    loaded.load_model(str(tmp_path / "c.cbm"))
    pairs = [
        (booster, xgboost.Booster(model_file=tmp_path / "x.ubj")),
        (other, lightgbm.Booster(model_file=str(tmp_path / "l.txt"))),
        (model, loaded),
    ]
    for trained, read_back in pairs:
        one, two = read_model(trained), read_model(read_back)
        assert one.names == two.names
        np.testing.assert_allclose(one.table.value, two.table.value)


def test_ubjson_holds_what_the_json_of_the_model_holds() -> None:
    booster = xgb("reg:squarederror", Y)

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, list | np.ndarray):
            return [plain(each) for each in list(value)]
        return float(np.float32(value)) if isinstance(value, float | np.floating) else value

    read = plain(decode(booster.save_raw("ubj")))["learner"]["gradient_booster"]
    assert read == plain(json.loads(booster.save_raw("json")))["learner"]["gradient_booster"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[$d#L", b"nonsense", b"[#i\x05", b"[#Si\x01a"])
def test_bytes_that_are_no_ubjson_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="expected UBJSON"):
        decode(raw)
