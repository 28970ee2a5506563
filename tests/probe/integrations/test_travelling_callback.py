"""A callback that is sent to a worker, as Spark does: the run is the script's, not the worker's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gradtracer_schemas import LayerWatchedEvent, RunStartedEvent, decode_event

SCRIPT = """\
import cloudpickle

import gradtracer

callback = gradtracer.{library}_callback()
with open("sent", "wb") as file:
    cloudpickle.dump(callback, file)
"""
WORKER = """\
import pickle
import sys

import numpy as np

def work(callback):
    x = np.random.default_rng(0).normal(size=(300, 3))
    y = x[:, 0]
    if "{library}" == "xgboost":
        import xgboost
        xgboost.train({{"nthread": 1}}, xgboost.DMatrix(x, y), 6, callbacks=[callback])
    else:
        import lightgbm
        data = lightgbm.Dataset(x, y)
        lightgbm.train({{"verbose": -1, "num_threads": 1}}, data, 6, callbacks=[callback])

with open(sys.argv[1], "rb") as file:
    work(pickle.load(file))
"""


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_the_run_of_a_worker_is_told_where_the_callback_was_made(
    tmp_path: Path, library: str
) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    for folder, name, text in ((home, "train.py", SCRIPT), (away, "daemon.py", WORKER)):
        folder.mkdir()
        (folder / name).write_text(text.format(library=library), encoding="utf-8")
    run(home, "train.py")
    run(away, "daemon.py", str(home / "sent"))
    assert not (away / ".gradtracer").exists()
    (journal,) = home.glob(".gradtracer/runs/*/events.jsonl")
    events = [decode_event(line) for line in journal.read_bytes().splitlines()]
    (started,) = [each.body for each in events if isinstance(each, RunStartedEvent)]
    assert started.script == str(home / "train.py")
    (watched,) = [each.body for each in events if isinstance(each, LayerWatchedEvent)]
    assert watched.site.frames[0].file == str(home / "train.py")
    assert watched.site.frames[0].text.startswith("callback = gradtracer.")
