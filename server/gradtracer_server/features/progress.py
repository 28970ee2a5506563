"""window/workDoneProgress and $/progress: one report for each training that runs now."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.runs import Run

logger = logging.getLogger(__name__)

MAX_REPORTS = 8
"""A sweep of fifty trainings does not bury the status bar."""

_MINUTE = 60.0
REPORT_SECONDS = 0.25
"""The status bar changes no more often."""


@dataclass(slots=True)
class _Report:
    run: Run
    token: str = field(default_factory=lambda: f"gradtracer-{uuid.uuid4()}")
    begun: bool = False
    refused: bool = False
    ended: bool = False
    message: str = ""
    sent: float = 0.0


class ProgressReporter:
    """Opens a report when a run is live, keeps it current, and closes it when the run ends."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._reports: dict[Path, _Report] = {}

    def update(self, runs: Sequence[Run]) -> None:
        """Bring the reports in line with the runs."""
        if not self._ls.support.work_done_progress:
            return
        live = {run.folder: run for run in runs if run.status == "live" and run.started}
        for folder, report in list(self._reports.items()):
            if live.get(folder) is report.run:
                self._report(report)
            else:
                del self._reports[folder]
                self._end(report)
        for folder in live.keys() - self._reports.keys():
            if len(self._reports) >= MAX_REPORTS:
                break
            report = self._reports[folder] = _Report(live[folder])
            self._ls.life.spawn(self._begin(report), "progress")

    async def _begin(self, report: _Report) -> None:
        try:
            await self._ls.work_done_progress.create_async(report.token)
        except JsonRpcException as error:
            logger.info("the client shows no progress: %s", error)
            report.refused = True
            return
        report.begun = True
        report.message = _message(report.run)
        report.sent = time.monotonic()
        self._ls.work_done_progress.begin(
            report.token,
            types.WorkDoneProgressBegin(
                title=_title(report.run),
                cancellable=False,
                message=report.message,
                percentage=_percentage(report.run),
            ),
        )
        if report.ended:
            self._end(report)

    def _report(self, report: _Report) -> None:
        now = time.monotonic()
        message = _message(report.run)
        if not report.begun or message == report.message or now - report.sent < REPORT_SECONDS:
            return
        report.message, report.sent = message, now
        self._ls.work_done_progress.report(
            report.token,
            types.WorkDoneProgressReport(message=message, percentage=_percentage(report.run)),
        )

    def _end(self, report: _Report) -> None:
        report.ended = True
        if not report.begun or report.refused:
            return
        self._ls.work_done_progress.end(
            report.token, types.WorkDoneProgressEnd(message=_outcome(report.run))
        )
        # pygls keeps every token for ever.
        self._ls.work_done_progress.tokens.pop(report.token, None)


def _title(run: Run) -> str:
    from gradtracer_server.render.escape import clean

    script = run.started.script if run.started else ""
    name = PurePath(script.replace("\\", "/")).name
    return f"Training {clean(name, 60) or 'a model'}"


def _message(run: Run) -> str:
    """`step 1,234/5,000 · loss 0.231 · 120 steps/s · 40 s left`."""
    from gradtracer_server.render.card import progress_parts
    from gradtracer_server.render.numbers import count, duration

    if run.progress is None:
        return "starting"
    total = run.progress.total_steps
    reached = f"{run.unit} {count(run.progress.step)}" + (f"/{count(total)}" if total else "")
    parts = [reached, *progress_parts(run)]
    speed = run.progress.steps_per_second
    if total and speed:
        parts.append(f"{duration(max(total - run.progress.step, 0) / speed)} left")
    elif run.started_at is not None and (gone := time.time() - run.started_at) >= _MINUTE:
        parts.append(f"{duration(gone)} so far")
    return " · ".join(parts)


def _percentage(run: Run) -> int | None:
    if run.progress is None or not run.progress.total_steps:
        return None
    share = run.progress.step / run.progress.total_steps
    return max(0, min(100, int(100 * share)))


def _outcome(run: Run) -> str:
    from gradtracer_server.render.card import run_outcome

    return run_outcome(run)
