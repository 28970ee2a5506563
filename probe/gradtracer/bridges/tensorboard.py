"""TensorBoard: the figures as scalars, the findings as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer.bridges.readings import COLUMNS, PREFIX, read

if TYPE_CHECKING:
    from gradtracer.bridges.readings import Watched


def log_to_tensorboard(tracker: Watched, writer: Any, step: int | None = None) -> dict[str, float]:
    """Write a tracker's figures, or those of every tracker of a run, to a `SummaryWriter`.

    Scalars are named `gradtracer/LAYER/STATISTIC`; findings stand under the text
    `gradtracer/diagnoses`.

    Args:
        tracker: a tracker, or the result of `gradtracer.watch`.
        writer: a `torch.utils.tensorboard.SummaryWriter`, or one with its methods.
        step: the global step; None for that of the run.

    Returns:
        The numbers that were written.

    Raises:
        NothingToWatch: `tracker` is neither a tracker nor a run.
    """
    reading = read(tracker)
    at = reading.step if step is None else step
    for name, value in reading.scalars.items():
        writer.add_scalar(name, value, at)
    writer.add_text(f"{PREFIX}/diagnoses", _table(reading.rows()), at)
    return reading.scalars


def _table(rows: list[list[Any]]) -> str:
    """Markdown, in which TensorBoard shows texts."""
    if not rows:
        return "HEALTHY: no test finds anything wrong."
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines)
