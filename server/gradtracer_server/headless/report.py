"""`gradtracer report`: a run as one HTML file to keep, send or attach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradtracer_server.exceptions import UsageError
from gradtracer_server.findings import locate
from gradtracer_server.headless.baseline import find_run
from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import no_runs
from gradtracer_server.headless.survey import Survey, survey
from gradtracer_server.render.page import run_page
from gradtracer_server.render.text import heading_of
from gradtracer_server.runs import Run


def report(name: str | None, output: Path | None, paths: Sequence[Path]) -> int:
    """Write the page of a run, the newest without a name; the exit status.

    `output`: the file; None: `gradtracer-RUN.html` here; `-`: standard output.

    Raises:
        UsageError: there is no such run, no run at all, or the file cannot be written.
    """
    seen = survey(paths)
    if not seen.book.runs:
        raise UsageError(no_runs(seen.folders))
    run = seen.book.runs[0] if name is None else find_run(name, seen.book.runs)
    page = page_of(run, seen)
    if output == Path("-"):
        say(page.rstrip("\n"))
        return 0
    target = output or Path(f"gradtracer-{run.id}.html")
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"expected a file that can be written, got {str(target)!r}: {error.strerror or error}"
        ) from None
    note(f"gradtracer: {len(page.encode()) / 1024:,.0f} KB written to {target}")
    return 0


def page_of(run: Run, seen: Survey) -> str:
    """A run as one HTML document, its findings with their places in the source as it is now."""
    run.catch_up()
    found = (locate(each, run, seen.documents, seen.workspace) for each in run.diagnoses.values())
    places = {each.diagnosis.id: heading_of(each) for each in found if each.path is not None}
    return run_page(run, places)
