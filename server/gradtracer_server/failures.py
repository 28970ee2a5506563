"""Where runs failed: the statement that raised, in the text as it is now.

Imports no pygls.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradtracer_server.findings import FrameAnchor, resolve_site
from gradtracer_server.runs import Run
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended by an exception, and the statements on the way to it."""

    run: Run
    frames: list[FrameAnchor]
    """Innermost first, all in the workspace; the first is unchanged since the run."""


def failures(runs: Iterable[Run], documents: Documents, workspace: Workspace) -> list[Failure]:
    """The failures of the runs that speak for their scripts.

    One whose statement was edited since is left out: somebody has seen to it.
    """
    found: list[Failure] = []
    for run in runs:
        failure = run.ended.failure if run.ended is not None else None
        if failure is None:
            continue
        frames = resolve_site(failure.site, run, documents, workspace)
        if frames and frames[0].anchor.state in {"exact", "moved"} and frames[0].anchor.focus:
            standing = [each for each in frames[1:] if each.anchor.focus is not None]
            found.append(Failure(run, [frames[0], *standing]))
    return found
