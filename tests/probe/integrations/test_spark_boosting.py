"""Boosting on a local Spark: the run is kept in the script's project and stands on its line.

PySpark is no dependency of the tests, as it is 400 MB: where it and Java are installed, they run.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gradtracer_schemas import Envelope, LayerWatchedEvent, ObservationEvent, decode_event
from patience import PATIENCE

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None,
        reason="PySpark is not installed (pip install pyspark)",
    ),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, which is not here"),
]

SCRIPT = """
import os
import sys
import numpy as np
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from xgboost.spark import SparkXGBClassifier
import gradtracer

def main(spark):
    x = np.random.default_rng(0).normal(size=(400, 4))
    rows = [(Vectors.dense(each), float(each[0] + each[1] > 0)) for each in x]
    frame = spark.createDataFrame(rows, ["features", "label"])
    model = SparkXGBClassifier(
        num_workers=2, n_estimators=6, max_depth=2, callbacks=[gradtracer.xgboost_callback()]
    )
    fitted = model.fit(frame)

if __name__ == "__main__":
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    main(spark)
    spark.stop()
"""


# A Java machine and workers that each import a library take their time to start
def test_a_training_on_two_workers_of_spark_is_told_once(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start("train.py", files={"train.py": SCRIPT})
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    (journal,) = tmp_path.glob(".gradtracer/runs/*/events.jsonl")
    events: list[Envelope] = [decode_event(each) for each in journal.read_bytes().splitlines()]
    (watched,) = [event.body for event in events if isinstance(event, LayerWatchedEvent)]
    assert watched.site.frames[0].file == str(tmp_path / "train.py")
    assert watched.site.frames[0].text.startswith("model = SparkXGBClassifier(")
    figures = [event.body for event in events if isinstance(event, ObservationEvent)][-1]
    assert figures.values["rounds"] == 6
