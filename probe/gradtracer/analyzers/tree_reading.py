"""The trees of a fitted model, whichever library made it; loads no library that is not loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gradtracer.analyzers import tree_catboost, tree_lightgbm, tree_xgboost
from gradtracer.analyzers.tree_table import TreeTable, concatenate
from gradtracer.exceptions import NothingToWatch

Library = Literal["xgboost", "lightgbm", "catboost"]


class ReadModel(NamedTuple):
    """A model's trees and what its columns are called."""

    library: Library
    tables: Iterable[TreeTable]
    """Of some trees each, which may be made anew whenever they are gone through."""
    names: list[str]

    @property
    def table(self) -> TreeTable:
        """All trees in one."""
        return concatenate(list(self.tables))


def library_of(model: object) -> Library | None:
    """The library whose model or estimator this is, subclasses included; None for any other."""
    for base in type(model).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("xgboost", "lightgbm", "catboost"):
            return package  # pyright: ignore[reportReturnType] checked against the three
    return None


def read_model(model: Any, feature_names: list[str] | None = None) -> ReadModel:
    """Read every tree of a fitted booster or estimator.

    Raises:
        NothingToWatch: it is no model of the three libraries, not fitted, or has no trees.
    """
    library = library_of(model)
    if library is None:
        raise NothingToWatch(
            "expected a model of xgboost, lightgbm or catboost, got "
            f"{type(model).__name__}; pass e.g. TreeDynamicsTracker(booster)"
        )
    try:
        tables, names = _READERS[library](model)
    except Exception as error:
        if type(error).__name__ in ("NotFittedError", "LGBMNotFittedError", "CatBoostError"):
            raise NothingToWatch(
                f"{type(model).__name__} is not fitted yet: call fit first, or pass it to "
                "gradtracer.watch before fit to observe every round"
            ) from error
        raise
    if feature_names is not None:
        names = [*map(str, feature_names), *names[len(feature_names) :]]
    return ReadModel(library, tables, names)


def _xgboost(model: Any) -> tuple[list[TreeTable], list[str]]:
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    booster = getattr(booster, "booster", booster)
    if not hasattr(booster, "save_raw"):
        raise NothingToWatch(f"expected a Booster or an estimator, got {type(model).__name__}")
    try:
        table = tree_xgboost.unpack(booster.save_raw("ubj"))
    except ValueError as error:
        raise NothingToWatch(str(error)) from None
    return [table], _of_all_columns(xgboost_names(booster), table)


def xgboost_names(booster: Any) -> list[str]:
    """Names of a booster's columns; `f0`, `f1`, … where the training gave none, as XGBoost does."""
    return list(booster.feature_names or [f"f{i}" for i in range(booster.num_features())])


def _of_all_columns(names: Sequence[str], table: TreeTable) -> list[str]:
    used = int(table.feature.max(initial=-1)) + 1
    return [*names, *(f"f{index}" for index in range(len(names), used))]


def _lightgbm(model: Any) -> tuple[list[TreeTable], list[str]]:
    booster = model.booster_ if hasattr(type(model), "booster_") else model
    if not hasattr(booster, "model_to_string"):
        raise NothingToWatch(f"expected a Booster or an estimator, got {type(model).__name__}")
    with tempfile.TemporaryDirectory(prefix="gradtracer-") as folder:
        path = Path(folder) / "model.txt"
        # A string of more than 1 MB LightGBM writes twice, to learn its length. All rounds: by
        # default a booster that stopped early writes those up to its best alone.
        booster.save_model(str(path), num_iteration=-1)
        text = path.read_text(encoding="utf-8")
    table = tree_lightgbm.unpack(text)
    return [table], _of_all_columns(booster.feature_name(), table)


def _catboost(model: Any) -> tuple[Iterable[TreeTable], list[str]]:
    if not model.is_fitted():
        raise NothingToWatch(
            f"{type(model).__name__} is not fitted yet: call fit first, or pass it to "
            "gradtracer.watch before fit"
        )
    with tempfile.TemporaryDirectory(prefix="gradtracer-") as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        raw = path.read_bytes()
    return tree_catboost.unpack(raw, list(model.feature_names_ or []))


_READERS = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}
