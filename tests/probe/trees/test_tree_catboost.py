"""CatBoost's own format holds what its JSON holds, and columns of every kind keep their names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradtracer.analyzers import tree_catboost
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.trees import TreeDynamicsTracker

RNG = np.random.default_rng(3)
N = 800
WORDS = np.array(["good", "bad", "fine", "awful", "so"])
TEXTS = [" ".join(RNG.choice(WORDS, 5)) for _ in range(N)]
VECTORS = RNG.normal(size=(N, 4))
FRAME = pd.DataFrame(
    {
        "shop": RNG.choice(list("abcdefgh"), N),
        "review": TEXTS,
        "age": RNG.normal(size=N),
        "kind": RNG.choice(["p", "q"], N),
        "vector": list(VECTORS),
        "noise": RNG.normal(size=N),
    }
)
TARGET = (
    FRAME["age"]
    + [text.count("good") - text.count("bad") for text in TEXTS]
    + 2.0 * (FRAME["kind"] == "p")
    + 2.0 * VECTORS[:, 0]
    + 2.0 * (FRAME["shop"] < "d")
    > 2
).astype(int)


def fit(columns: list[str], **more: Any) -> Any:
    model = catboost.CatBoostClassifier(
        iterations=20, depth=4, verbose=0, thread_count=1, allow_writing_files=False, **more
    )
    given = {
        "cat_features": [name for name in ("shop", "kind") if name in columns],
        "text_features": [name for name in ("review",) if name in columns],
        "embedding_features": [name for name in ("vector",) if name in columns],
    }
    return model.fit(FRAME[columns], TARGET, **{name: each for name, each in given.items() if each})


def splits_in(tree: dict[str, Any]) -> list[Any]:
    """The splits of a tree of the JSON, the upper ones first, each as often as it has nodes."""
    if "splits" in tree:
        each = tree["splits"] or []
        return [split for level, split in enumerate(each) for _ in range(2**level)]
    found, level = [], [tree]
    while level:
        inner = [node for node in level if "split" in node]
        found += [node["split"] for node in inner]
        level = [child for node in inner for child in (node["left"], node["right"])]
    return found


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
def test_the_json_of_the_model_has_the_same_splits_and_leaves(policy: str, tmp_path: Path) -> None:
    model = fit(["shop", "age", "kind", "noise"], grow_policy=policy, one_hot_max_size=2)
    model.save_model(str(tmp_path / "model.json"), format="json")
    told = json.loads((tmp_path / "model.json").read_text())
    read = read_model(model)
    table = read.table
    trees = told["oblivious_trees"] if policy == "SymmetricTree" else told["trees"]
    assert table.trees == len(trees) == 20
    of_float = {each["feature_index"]: each["flat_feature_index"]
                for each in told["features_info"]["float_features"]}  # fmt: skip
    for number, tree in enumerate(trees):
        rows = np.flatnonzero((table.tree == number) & ~table.leaves)
        rows = rows[np.argsort(table.depth[rows], kind="stable")]
        splits = splits_in(tree)
        assert len(splits) == rows.size
        for row, split in zip(rows.tolist(), splits, strict=True):
            name, border = read.names[table.feature[row]], table.threshold[row]
            if split["split_type"] == "FloatFeature":
                assert name == read.names[of_float[split["float_feature_index"]]]
                assert border == pytest.approx(split["border"], rel=1e-6)
            elif split["split_type"] == "OneHotFeature":
                assert name == "kind"
                assert np.isnan(border)
            else:
                assert "shop" in name
                assert border == pytest.approx(split["border"], rel=1e-6)
        if policy == "SymmetricTree":
            leaves = (table.tree == number) & table.leaves
            assert table.value[leaves, 0] == pytest.approx(tree["leaf_values"])
            assert table.cover[leaves] == pytest.approx(tree["leaf_weights"])


def test_texts_and_embeddings_are_columns_of_their_names() -> None:
    model = fit(["review", "age", "vector", "noise"])
    read = read_model(model)
    assert read.names == ["review", "age", "vector", "noise"]
    inner = ~read.table.leaves
    gain = np.bincount(read.table.feature[inner], read.table.gain[inner], minlength=4)
    own = np.asarray(model.get_feature_importance())
    assert ((gain > 0) == (own > 0)).all()
    assert gain.argsort().tolist()[-1] == own.argmax()


def test_a_scaled_model_moves_the_margin_by_as_much_more() -> None:
    model = fit(["age", "noise"])
    before = read_model(model).table.value
    model.set_scale_and_bias(2.0, 1.0)
    np.testing.assert_allclose(read_model(model).table.value, 2 * before)


def test_a_model_without_leaf_weights_counts_every_leaf_once(tmp_path: Path) -> None:
    one = fit(["age", "noise"])
    other = fit(["age", "noise"], random_seed=1)
    both = catboost.sum_models([one, other], weights=[0.5, 0.5])
    table = read_model(both).table
    assert table.trees == 40
    assert np.isfinite(table.gain).all()


RAW: list[bytes] = []


def raw_model(folder: Path) -> bytes:
    if not RAW:
        fit(["shop", "age"]).save_model(str(folder / "model.cbm"))
        RAW.append((folder / "model.cbm").read_bytes())
    return RAW[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 4_000), byte=st.integers(0, 255), cut=st.integers(0, 6_000))
def test_a_damaged_file_is_read_or_refused_as_no_model(
    tmp_path: Path, place: int, byte: int, cut: int
) -> None:
    raw = bytearray(raw_model(tmp_path))
    raw[place % len(raw)] = byte
    with contextlib.suppress(ValueError):
        tree_catboost.unpack(bytes(raw[: max(cut, place)]), ["shop", "age"])


def test_what_is_no_model_is_refused_by_its_first_bytes() -> None:
    for raw in (b"", b"{}", b"CBM1", b"tree\nversion=v4"):
        with pytest.raises(ValueError, match="expected a "):
            tree_catboost.unpack(raw, [])


def test_trees_of_several_depths_come_in_tables_of_whole_trees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = ["age", "noise"]
    models = [
        catboost.CatBoostClassifier(
            iterations=5, depth=depth, verbose=0, thread_count=1, allow_writing_files=False
        ).fit(FRAME[columns], TARGET)
        for depth in (1, 5, 3)
    ]
    both = catboost.sum_models(models)
    (whole,) = read_model(both).tables
    dynamics = TreeDynamicsTracker(both).extract_dynamics()
    for nodes in (1, 40, 100):
        monkeypatch.setattr("gradtracer.analyzers.tree_catboost_symmetric._AT_ONCE", nodes)
        read = read_model(both)
        assert len(list(read.tables)) > 1
        for one, other in zip(whole, read.table, strict=True):
            np.testing.assert_array_equal(one, other)
        found = TreeDynamicsTracker(both).extract_dynamics()
        assert found["top_splits"] == dynamics["top_splits"]
        assert found["total_leaves"] == dynamics["total_leaves"] == whole.leaves.sum()
        assert found["leaf_variance"] == pytest.approx(dynamics["leaf_variance"])
        assert found["leaf_variance"] == pytest.approx(whole.value[whole.leaves].var())
        assert found["leaf_velocity"] == pytest.approx(dynamics["leaf_velocity"])
        assert found["gain_shares"] == pytest.approx(dynamics["gain_shares"])
