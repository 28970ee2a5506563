"""What is found in a real script is mended by the fix, and the next run is clean."""

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


def states(folder: Path, kind: str) -> list[str]:
    """How the findings of a type stand to the text as it is now."""
    told = run(folder, "-m", "gradtracer_server", "check", "--output-format", "json")
    return [each["state"] for each in json.loads(told) if each["type"] == kind]


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
    assert states(tmp_path, "TARGET_LEAKAGE") == ["current"]
    run(tmp_path, "-m", "gradtracer_server", "fix", "--unsafe")
    assert script.read_text(encoding="utf-8") == text.replace(before, after)
    assert states(tmp_path, "TARGET_LEAKAGE") == ["outdated"]
    run(tmp_path, "train.py")
    assert states(tmp_path, "TARGET_LEAKAGE") == []


DATA = """\
import numpy as np
import pandas as pd

import gradtracer

rng = np.random.default_rng(3)
X = pd.DataFrame(rng.normal(size=(2_700, 8)), columns=list("abcdefgh"))
y = np.tanh(1.5 * X[["a", "b", "c"]]) @ [1.5, 1.0, -1.5] + 2.5 * rng.normal(size=2_700)
x, y, held, target = X[:700], y[:700], X[700:], y[700:]
"""
BOOSTERS = {
    "xgboost": """\
import xgboost as xgb
ROUNDS = 120
dtrain, dvalid = xgb.DMatrix(x, y), xgb.DMatrix(held, target)
params = {"eta": 0.2, "max_depth": 5, "nthread": 1}
callbacks = [gradtracer.xgboost_callback()]
booster = xgb.train(params, dtrain, ROUNDS, evals=[(dvalid, "valid")], callbacks=callbacks)
print(booster.predict(dvalid)[:1])
""",
    "lightgbm": """\
from lightgbm import LGBMRegressor
how = {"max_depth": 5, "num_leaves": 32, "n_jobs": 1, "verbose": -1}
model = LGBMRegressor(n_estimators=120, learning_rate=0.2, **how)
callbacks = [gradtracer.lightgbm_callback()]
model.fit(x, y, eval_X=held, eval_y=target, callbacks=callbacks)
print(model.predict(held)[:1])
""",
    "catboost": """\
from catboost import CatBoostRegressor
model = CatBoostRegressor(iterations=120, learning_rate=0.2, depth=5, use_best_model=False)
model.set_params(thread_count=1, verbose=0)
model.fit(x, y, eval_set=(held, target), callbacks=[gradtracer.catboost_callback()])
print(model.predict(held)[:1])
""",
}


@pytest.mark.parametrize("library", BOOSTERS)
def test_effects_that_go_one_way_are_constrained_with_the_best_round(
    tmp_path: Path, library: str
) -> None:
    script = tmp_path / "train.py"
    text = DATA + BOOSTERS[library]
    script.write_text(text, encoding="utf-8")
    run(tmp_path, "train.py")
    assert states(tmp_path, "OVERFITTING_ROUNDS") == ["current"]
    run(tmp_path, "-m", "gradtracer_server", "fix", "--fix", "constrain-monotone", "--unsafe")
    fixed = script.read_text(encoding="utf-8")
    assert "120" in text and "120" not in fixed
    signs = "[1, 1, -1, 0" if library == "lightgbm" else '{"a": 1, "b": 1, "c": -1}'
    assert "monotone_constraints" in fixed and signs in fixed
    run(tmp_path, "train.py")
    assert states(tmp_path, "OVERFITTING_ROUNDS") == []
