"""Boosting on a local Dask cluster: of all workers one tells, and it tells of the user's line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gradtracer_schemas import Envelope, LayerWatchedEvent, ObservationEvent, decode_event
from patience import PATIENCE

SCRIPT = """
import warnings
import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
import gradtracer

def main(client):
    x = np.random.default_rng(0).normal(size=(1_000, 4))
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    rows, labels = da.from_array(x, chunks=(500, 4)), da.from_array(y, chunks=500)
    {train}

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            main(client)
"""
XGBOOST = """
    from xgboost import dask as dxgb
    data = dxgb.DaskDMatrix(client, rows, labels)
    dxgb.train(client, {"max_depth": 2}, data, 6, callbacks=[gradtracer.xgboost_callback()])
"""
LIGHTGBM = """
    import lightgbm
    model = lightgbm.DaskLGBMClassifier(client=client, n_estimators=6, verbose=-1)
    model.fit(rows, labels, callbacks=[gradtracer.lightgbm_callback()])
"""


# A cluster of processes that each import a library takes its time to start
@pytest.mark.parametrize(("train", "line"), [(XGBOOST, "dxgb.train("), (LIGHTGBM, "model.fit(")])
def test_a_training_on_two_workers_is_told_once(
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    train: str,
    line: str,
) -> None:
    process = start("train.py", files={"train.py": SCRIPT.replace("{train}", train.strip())})
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    (journal,) = tmp_path.glob(".gradtracer/runs/*/events.jsonl")
    events: list[Envelope] = [decode_event(each) for each in journal.read_bytes().splitlines()]
    (watched,) = [event.body for event in events if isinstance(event, LayerWatchedEvent)]
    assert watched.site.frames[0].file == str(tmp_path / "train.py")
    assert watched.site.frames[0].text.startswith(line)
    figures = [event.body for event in events if isinstance(event, ObservationEvent)][-1]
    assert figures.values["rounds"] == 6
