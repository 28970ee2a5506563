"""A leak in an array: no table has the names that the libraries give its columns."""

from __future__ import annotations

from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from boosting_journal import Journal

import gradtracer
from gradtracer_schemas import Diagnosis, DiagnosisRaisedEvent

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 2, 1_000)
X = RNG.normal(size=(1_000, 4))
X[:, 2] = LABEL + 0.05 * RNG.normal(size=1_000)
NAMES = [f"f{index}" for index in range(4)]


def fit(library: str, table: Any) -> None:
    model: Any
    if library == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=30, n_jobs=1)
    elif library == "lightgbm":
        model = lightgbm.LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1)
    else:
        model = catboost.CatBoostClassifier(
            30, thread_count=1, verbose=0, allow_writing_files=False
        )
    run = gradtracer.watch(model)
    model.fit(table, LABEL)
    run.finish()


def leak(journal: Journal) -> Diagnosis:
    (found,) = [
        each.body
        for each in journal.events
        if isinstance(each, DiagnosisRaisedEvent) and each.body.type == "TARGET_LEAKAGE"
    ]
    return found


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame])
def test_a_column_without_a_name_is_not_left_out_by_one(
    journal: Journal, library: str, form: Any
) -> None:
    fit(library, form(X))
    found = leak(journal)
    assert [offer.fix for offer in found.fixes] == ["suppress"]
    assert found.action.startswith("See which column is number 2, counted from 0, of the array")


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_a_named_column_is_left_out_by_its_name(journal: Journal, library: str) -> None:
    fit(library, pd.DataFrame(X, columns=NAMES))
    found = leak(journal)
    assert found.fixes[0].parameters["column"] == "f2"
    assert found.action.startswith("Find out when f2 is known.")


def test_catboost_ignores_a_column_by_its_number_too(journal: Journal) -> None:
    fit("catboost", X)
    found = leak(journal)
    assert found.fixes[0].parameters == {"column": "2", "library": "catboost"}
