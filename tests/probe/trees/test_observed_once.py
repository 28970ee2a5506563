"""An estimator that is watched and whose training is given a callback of ours is observed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost

import gradtracer
from gradtracer_schemas import LayerWatchedEvent, decode_event

X = np.random.default_rng(0).normal(size=(300, 4))
Y = X[:, 0] + X[:, 1]


def xgboost_model() -> tuple[Any, dict[str, Any]]:
    ours = [gradtracer.xgboost_callback()]
    return xgboost.XGBRegressor(n_estimators=7, n_jobs=1, callbacks=ours), {}


def lightgbm_model() -> tuple[Any, dict[str, Any]]:
    model = lightgbm.LGBMRegressor(n_estimators=7, n_jobs=1, verbose=-1)
    return model, {"callbacks": [gradtracer.lightgbm_callback()]}


def catboost_model() -> tuple[Any, dict[str, Any]]:
    model = catboost.CatBoostRegressor(iterations=7, thread_count=1, verbose=0)
    return model, {"callbacks": [gradtracer.catboost_callback()]}


@pytest.mark.parametrize("make", [xgboost_model, lightgbm_model, catboost_model])
def test_a_watched_fit_that_is_given_a_callback_too_is_observed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], tuple[Any, dict[str, Any]]]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRADTRACER_PUBLISH", "false")
    model, given = make()
    run = gradtracer.watch(model)
    model.fit(X, Y, **given)
    run.finish()
    (journal,) = tmp_path.glob(".gradtracer/runs/*/events.jsonl")
    events = [decode_event(line) for line in journal.read_bytes().splitlines()]
    (watched,) = [event.body for event in events if isinstance(event, LayerWatchedEvent)]
    assert watched.type == type(model).__name__
