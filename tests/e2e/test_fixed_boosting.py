"""A leak in a real script is found, its column left out by the fix, and the next run is clean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from patience import PATIENCE

LISTED = """\
import pandas as pd
import xgboost as xgb
from sklearn.model_selection import train_test_split

import gradtracer

FEATURES = [
    "age",
    "refund",  # what was paid back
    "hours",
    "visits",
]
frame = pd.read_csv("orders.csv")
X, held, y, target = train_test_split(frame[FEATURES], frame["returned"], random_state=0)
dtrain, dvalid = xgb.DMatrix(X, y), xgb.DMatrix(held, target)
params = {"objective": "binary:logistic", "nthread": 1}
booster = xgb.train(params, dtrain, 20, callbacks=[gradtracer.xgboost_callback()])
print(booster.predict(dvalid)[:1])
"""
DROPPED = """\
import lightgbm as lgb
import pandas as pd

import gradtracer

frame = pd.read_csv("orders.csv")
X = frame.drop(columns="returned")
model = lgb.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)
gradtracer.watch(model)
model.fit(X, frame["returned"])
print(model.predict(X)[:1])
"""
IGNORED = """\
import pandas as pd
from catboost import CatBoostClassifier

import gradtracer

frame = pd.read_csv("orders.csv")
y = frame.pop("returned")
model = CatBoostClassifier(iterations=20, verbose=0, thread_count=1, allow_writing_files=False)
model.fit(frame, y, callbacks=[gradtracer.catboost_callback()])
print(model.predict(frame)[:1])
"""


def orders() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=1_500),
            "hours": rng.normal(size=1_500),
            "visits": rng.normal(size=1_500),
        }
    )
    frame["returned"] = (
        frame["age"] + frame["hours"] * frame["visits"] + rng.normal(size=1_500) > 0
    ).astype(int)
    frame["refund"] = frame["returned"] * 9.99 + 0.01 * rng.normal(size=1_500)
    return frame


def run(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout


def leaks(folder: Path) -> list[str]:
    """How the findings of a leak stand to the text as it is now."""
    told = run(folder, "-m", "gradtracer_server", "check", "--output-format", "json")
    return [each["state"] for each in json.loads(told) if each["type"] == "TARGET_LEAKAGE"]


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (LISTED, '    "refund",  # what was paid back\n', ""),
        (DROPPED, 'columns="returned"', 'columns=["returned", "refund"]'),
        (IGNORED, "_files=False", '_files=False, ignored_features=["refund"]'),
    ],
    ids=["xgboost", "lightgbm", "catboost"],
)  # fmt: skip
def test_a_leak_is_found_and_left_out(tmp_path: Path, text: str, before: str, after: str) -> None:
    orders().to_csv(tmp_path / "orders.csv", index=False)
    script = tmp_path / "train.py"
    script.write_text(text, encoding="utf-8")
    run(tmp_path, "train.py")
    assert leaks(tmp_path) == ["current"]
    run(tmp_path, "-m", "gradtracer_server", "fix", "--unsafe")
    assert script.read_text(encoding="utf-8") == text.replace(before, after)
    assert leaks(tmp_path) == ["outdated"]
    run(tmp_path, "train.py")
    assert leaks(tmp_path) == []
