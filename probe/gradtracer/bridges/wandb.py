"""Weights & Biases: the figures as metrics, the findings as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer.bridges.readings import COLUMNS, PREFIX, read
from gradtracer.exceptions import MissingLibrary, UsageError

if TYPE_CHECKING:
    from gradtracer.bridges.readings import Watched


def log_to_wandb(tracker: Watched, step: int | None = None) -> dict[str, float]:
    """Log a tracker's figures, or those of every tracker of a run, to the active wandb run.

    Metrics are named `gradtracer/LAYER/STATISTIC`; findings stand in the table
    `gradtracer/diagnoses`.

    Args:
        tracker: a tracker, or the result of `gradtracer.watch`.
        step: wandb's step; None to let it count.

    Returns:
        The numbers that were logged.

    Raises:
        MissingLibrary: `wandb` is not installed.
        UsageError: no wandb run is active.
        NothingToWatch: `tracker` is neither a tracker nor a run.
    """
    try:
        import wandb
    except ImportError:
        raise MissingLibrary("wandb is not installed: pip install wandb") from None
    active: Any = wandb.run
    if active is None:
        raise UsageError("expected an active wandb run, got none; call wandb.init(...) first")
    reading = read(tracker)
    rows: Any = reading.rows()
    table = wandb.Table(columns=list(COLUMNS), data=rows)
    active.log({**reading.scalars, f"{PREFIX}/diagnoses": table}, step=step)
    return reading.scalars
