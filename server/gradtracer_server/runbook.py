"""All runs of a workspace: which there are, which are live, which one speaks for each script."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradtracer_schemas import SourceFrame
from gradtracer_server.discovery import find_runs
from gradtracer_server.journal import Record
from gradtracer_server.runs import Run

logger = logging.getLogger(__name__)


class RunBook:
    """Keeps the runs found below and above some folders, the last started first."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(roots)
        self._runs: dict[Path, Run] = {}
        self._changes = 0

    @property
    def runs(self) -> list[Run]:
        """Every known run, the newest first."""
        return sorted(self._runs.values(), key=lambda run: run.order, reverse=True)

    @property
    def live(self) -> list[Run]:
        """The runs that may still speak, newest first."""
        return [run for run in self.runs if run.status == "live"]

    @property
    def revision(self) -> int:
        """Grows with each visible change of any run, and when runs come or go."""
        return self._changes + sum(run.revision for run in self._runs.values())

    def get(self, folder: Path) -> Run | None:
        """The run in a folder."""
        return self._runs.get(folder)

    def refresh(self, folders: Iterable[Path] | None = None) -> bool:
        """Look for runs again and bring the live ones up to date; whether anything changed.

        `folders`: what `find_runs` found, by a caller that walks the tree on another thread.
        """
        before = self.revision
        found = set(find_runs(self.roots) if folders is None else folders)
        for folder in self._runs.keys() - found:
            self._changes += 1 + self._runs.pop(folder).revision
        for folder in found - self._runs.keys():
            run = Run(folder)
            if run.peek():
                self._runs[folder] = run
                self._changes += 1
        for run in self.runs:
            run.check_process()
        for run in self.runs:
            if run.status in {"live", "unreadable"}:
                run.catch_up()
        shown_runs(self._runs.values())
        return self.revision != before

    def accept(self, folder: Path, records: list[Record]) -> bool:
        """Take records from the socket; whether they changed anything."""
        run = self._runs.get(folder)
        if run is None:
            run = Run(folder)
            self._runs[folder] = run
            self._changes += 1
        before = run.revision
        run.accept_all(records)
        return run.revision != before

    def shown(self) -> list[Run]:
        """The runs that speak for their scripts, newest first."""
        return shown_runs(self._runs.values())


def shown_runs(runs: Iterable[Run]) -> list[Run]:
    """For each script its newest run that has figures or has ended; else its newest run.

    One process may make several runs, as a script that trains three models does: the newest of each
    line that began one speaks. A run that has just begun knows nothing yet: until it does, the one
    before it speaks. A run whose start was damaged, so that nobody knows its script, speaks while
    it is its root's newest.
    """
    chosen: dict[tuple[Path, str], dict[object, Run]] = {}
    waiting: dict[tuple[Path, str], Run] = {}
    roots: set[Path] = set()
    for run in sorted(runs, key=lambda run: run.order, reverse=True):
        if run.unreadable or (run.started is None and run.root in roots):
            continue
        roots.add(run.root)
        speaking = chosen.setdefault(script_key(run), {})
        newest = next(iter(speaking.values()), None)
        if newest is not None and (_process(run) != _process(newest) or _line(run) in speaking):
            continue
        # Older runs are read only when no newer one speaks for their script.
        if not run.read:
            run.catch_up()
        if run.observed:
            speaking[_line(run)] = run
        elif newest is None:
            waiting.setdefault(script_key(run), run)
    silent = (run for key, run in waiting.items() if not chosen[key])
    found = [run for speaking in chosen.values() for run in speaking.values()]
    return sorted([*found, *silent], key=lambda run: run.order, reverse=True)


def earlier_runs(run: Run, runs: Iterable[Run]) -> list[Run]:
    """Runs that `run` may be compared with, the newest first: begun before it by the same call.

    The arguments of the call may have changed since.
    """
    earlier = [
        each
        for each in runs
        if each.order < run.order
        and not each.unreadable
        and script_key(each) == script_key(run)
        and _call(each) == _call(run)
    ]
    return sorted(earlier, key=lambda each: each.order, reverse=True)


def script_key(run: Run) -> tuple[Path, str]:
    """What runs of one script have in common: the root, and the script below it."""
    return run.root, _script(run)


def _script(run: Run) -> str:
    if run.started is None:
        return ""
    script = Path(run.started.script)
    if script.is_absolute() and script.is_relative_to(run.started.root):
        script = script.relative_to(run.started.root)
    return script.as_posix()


def _process(run: Run) -> object:
    started = run.started
    return run.id if started is None else (started.host, started.pid, started.process_started)


def _line(run: Run) -> object:
    """The line that began it; runs that no known line began are each other's successors."""
    frame = _watch_frame(run)
    return None if frame is None else (frame.file, frame.start_line, frame.start_column)


def _call(run: Run) -> object:
    """What stands before the arguments of the call that began it, and in which scope."""
    frame = _watch_frame(run)
    return None if frame is None else (frame.qualname, frame.text.partition("(")[0].strip())


def _watch_frame(run: Run) -> SourceFrame | None:
    frames = [] if run.started is None else run.started.watch.frames
    return frames[0] if frames else None
