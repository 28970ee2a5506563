"""`gradtracer runs`: the runs of a workspace, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradtracer_server.headless.output import say
from gradtracer_server.headless.paths import no_runs, run_book
from gradtracer_server.render.json import document, run_record
from gradtracer_server.render.text import run_table


def runs(paths: Sequence[Path], *, output_format: str = "text") -> int:
    """Print the list; the exit status."""
    book = run_book(paths)
    for run in book.runs:
        run.catch_up()
    if output_format == "json":
        say(document([run_record(run) for run in book.runs]))
    else:
        say(run_table(book.runs) if book.runs else no_runs(book.roots))
    return 0
