"""MLflow: the figures as metrics, the types found as a tag, the findings as an artifact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradtracer.bridges.readings import COLUMNS, PREFIX, read
from gradtracer.exceptions import MissingLibrary

if TYPE_CHECKING:
    from gradtracer.bridges.readings import Watched

_NOT_IN_A_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)


def log_to_mlflow(tracker: Watched, step: int | None = None) -> dict[str, float]:
    """Log a tracker's figures, or those of every tracker of a run, to the active MLflow run.

    Metrics are named `gradtracer/LAYER/STATISTIC`, characters that MLflow refuses in a name
    replaced by `_`. The tag `gradtracer.diagnoses` lists the types found, and the artifact
    `gradtracer/diagnoses.json` holds the findings. Where no run is active, MLflow begins one.

    Args:
        tracker: a tracker, or the result of `gradtracer.watch`.
        step: the step of the metrics; None for that of the run.

    Returns:
        The numbers that were logged, by the names they were logged under.

    Raises:
        MissingLibrary: `mlflow` is not installed.
        NothingToWatch: `tracker` is neither a tracker nor a run.
    """
    try:
        import mlflow
    except ImportError:
        raise MissingLibrary(
            "mlflow is not installed: pip install mlflow, or mlflow-skinny"
        ) from None
    reading = read(tracker)
    metrics = {_NOT_IN_A_NAME.sub("_", name): value for name, value in reading.scalars.items()}
    mlflow.log_metrics(metrics, step=reading.step if step is None else step)
    types = sorted({each.type for _, each in reading.findings})
    mlflow.set_tag(f"{PREFIX}.diagnoses", ", ".join(types) or "HEALTHY")
    found = [dict(zip(COLUMNS, row, strict=True)) for row in reading.rows()]
    mlflow.log_dict({"diagnoses": found}, f"{PREFIX}/diagnoses.json")
    return metrics
