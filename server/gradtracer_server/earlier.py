"""The run of the same script before the one that speaks: what its figures were at the same step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gradtracer_server.history import History
from gradtracer_server.journal import JOURNAL_NAME
from gradtracer_server.runbook import earlier_runs
from gradtracer_server.runs import Run, RunStatus

_TRIED = 3
"""Earlier runs that are looked into for one that has figures."""
_LARGEST = 64 << 20
"""Bytes of a journal that is read only to be compared with."""


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What is kept of a run to compare another with it."""

    id: str
    started_at: float | None
    status: RunStatus
    last_step: int
    layers: dict[str, History]
    """The figures of each layer over the run."""
    learning: History
    """Loss and metrics over the run."""
    diagnoses: dict[str, dict[str, int]]
    """By layer, the types that held when it ended, and the step at which each was raised."""


def candidates(run: Run, runs: Iterable[Run]) -> list[Path]:
    """The folders of earlier runs of the same script, the newest first."""
    return [each.folder for each in earlier_runs(run, runs)][:_TRIED]


def read_earlier(folders: Iterable[Path]) -> EarlierRun | None:
    """Read the first of the runs that has figures; not on the loop: it may take seconds."""
    for folder in folders:
        try:
            if (folder / JOURNAL_NAME).stat().st_size > _LARGEST:
                continue
        except OSError:
            continue
        run = Run(folder)
        if run.peek() and run.catch_up() and any(len(s.history) for s in run.layers.values()):
            run.check_process()
            return _kept(run)
    return None


def _kept(run: Run) -> EarlierRun:
    diagnoses: dict[str, dict[str, int]] = {}
    for each in run.diagnoses.values():
        diagnoses.setdefault(each.layer, {})[each.type] = each.first_step
    return EarlierRun(
        id=run.id,
        started_at=run.started_at,
        status=run.status,
        last_step=run.last_step,
        layers={name: state.history for name, state in run.layers.items() if len(state.history)},
        learning=run.learning,
        diagnoses=diagnoses,
    )
