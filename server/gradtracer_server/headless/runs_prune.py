"""`gradtracer runs prune`: deletes the folders of old runs, never that of a live one."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from gradtracer_server.discovery import all_runs
from gradtracer_server.exceptions import UsageError
from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import folders_of
from gradtracer_server.render.numbers import count
from gradtracer_server.render.text import relative_path
from gradtracer_server.runs import Run

_DAY = 86_400.0
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


def runs_prune(
    paths: Sequence[Path], *, keep: int | None, older_than: float | None, sure: bool
) -> int:
    """Delete, or list without `sure`; 2 when a folder could not be deleted, else 0.

    Args:
        paths: folders to look around.
        keep: how many of the newest to keep, whatever their age.
        older_than: days since a run began; None for any age.
        sure: delete, instead of saying what would be.

    Raises:
        UsageError: a path does not exist, or nothing says which runs are old.
    """
    if keep is None and older_than is None:
        raise UsageError("expected --keep N or --older-than DAYS, e.g. --keep 10")
    doomed = _old(paths, keep or 0, older_than)
    if not doomed:
        say("No run to delete.")
        return 0
    failed = 0
    for run in doomed:
        where = relative_path(run.folder)
        if not sure:
            say(f"would delete {where} ({run.status})")
            continue
        try:
            shutil.rmtree(run.folder)
            say(f"deleted {where}")
        except OSError as error:
            failed += 1
            note(f"gradtracer: {where}: {error.strerror or error}")
    runs = f"{count(len(doomed))} run{'' if len(doomed) == 1 else 's'}"
    if not sure:
        say(f"{runs}. Add --yes to delete {'it' if len(doomed) == 1 else 'them'}.")
    return 2 if failed else 0


def _old(paths: Sequence[Path], keep: int, older_than: float | None) -> list[Run]:
    """The runs to delete, newest first. What is not named as runs are is left alone."""
    runs: list[Run] = []
    for folder in all_runs(folders_of(paths)):
        run = Run(folder)
        if _RUN_ID.fullmatch(run.id) and run.peek():
            run.check_process()
            runs.append(run)
    runs.sort(key=lambda run: run.order, reverse=True)
    before = time.time() - (older_than or 0.0) * _DAY
    return [
        run
        for run in runs[keep:]
        if run.status != "live" and (older_than is None or run.order[0] < before)
    ]
