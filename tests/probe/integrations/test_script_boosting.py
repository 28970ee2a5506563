"""Boosters in a script run by `python -m gradtracer`: observed with no edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gradtracer_schemas import LayerWatchedEvent, ObservationEvent, RunEndedEvent, decode_event

DATA = """
import sys
import numpy as np
x = np.random.default_rng(0).normal(size=(300, 4))
y = x[:, 0] + x[:, 1]
"""
XGBOOST = """
import xgboost
booster = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(x, y), 6)
"""
ESTIMATOR = """
from xgboost import XGBRegressor
booster = XGBRegressor(n_estimators=6, n_jobs=1)
booster.fit(x, y)
"""
LIGHTGBM = """
from lightgbm import LGBMRegressor
booster = LGBMRegressor(n_estimators=6, n_jobs=1, verbose=-1)
booster.fit(x, y)
"""
CATBOOST = """
from catboost import CatBoostRegressor
booster = CatBoostRegressor(iterations=6, thread_count=1, verbose=0, allow_writing_files=False)
booster.fit(x, y)
"""
WRITING = CATBOOST.replace(", allow_writing_files=False", "")
OWN = """
import xgboost, gradtracer
booster = xgboost.train(
    {"max_depth": 2, "nthread": 1}, xgboost.DMatrix(x, y), 6,
    callbacks=[gradtracer.xgboost_callback()],
)
"""
OWN_CATBOOST = "import gradtracer" + WRITING.replace(
    "fit(x, y)", "fit(x, y, callbacks=[gradtracer.catboost_callback()])"
)
RUNNER = ("-m", "gradtracer")


@pytest.mark.parametrize(
    "train", [XGBOOST, ESTIMATOR, LIGHTGBM, CATBOOST, WRITING, OWN, OWN_CATBOOST]
)
def test_a_booster_is_observed_on_the_line_that_trains_it(
    launch: Callable[..., object], tmp_path: Path, train: str
) -> None:
    text = DATA + train + "assert 'torch' not in sys.modules\n"
    done = launch(*RUNNER, "train.py", files={"train.py": text})
    assert (done.returncode, done.stderr) == (0, "")  # type: ignore[attr-defined]
    (journal,) = tmp_path.glob(".gradtracer/runs/*/events.jsonl")
    events = [decode_event(line) for line in journal.read_bytes().splitlines()]
    (watched,) = [event.body for event in events if isinstance(event, LayerWatchedEvent)]
    assert watched.layer == "booster"
    assert watched.site.frames[0].file == str(tmp_path / "train.py")
    figures = [event.body for event in events if isinstance(event, ObservationEvent)][-1]
    assert figures.values["rounds"] == 6
    assert isinstance(events[-1], RunEndedEvent)
