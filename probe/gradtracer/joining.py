"""Which run a new observation belongs to: the one that is open, or a new one."""

from __future__ import annotations

from pathlib import Path

from gradtracer.run import Run, begin_run, open_run
from gradtracer.settings import Settings
from gradtracer_schemas import SourceSite


def join_or_begin(
    settings: Settings,
    site: SourceSite,
    *,
    total_steps: int | None = None,
    root: Path | None = None,
    script: Path | None = None,
) -> Run:
    """The open run; a new one when there is none, or when `site` is the line that began it.

    `root` and `script` are the new one's, where this process is not the script's own.
    """
    run = open_run()
    if run is not None and run.automatic:
        run.finish(reason="the script calls GradTracer itself")
    elif run is not None and _same_line(run.watch_site, site):
        run.finish(reason="watch was called again on the same line")
    if run is None or run.outcome is not None:
        run = begin_run(
            Run(
                root=root,
                script=script,
                settings=settings,
                watch_site=site,
                total_steps=total_steps,
            )
        )
    return run


def _same_line(one: SourceSite, other: SourceSite) -> bool:
    if not one.frames or not other.frames:
        return False
    a, b = one.frames[0], other.frames[0]
    return (a.file, a.start_line) == (b.file, b.start_line)
