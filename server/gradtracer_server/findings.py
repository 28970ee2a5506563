"""Joins what runs found with the text as it is now: each diagnosis, its place, and its state.

Imports no pygls: the editor's server and the headless commands read the same findings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gradtracer_schemas import Diagnosis, SourceFrame, SourceSite
from gradtracer_server.fixes.proposal import FixContext, Frame
from gradtracer_server.fixes.registry import addressed
from gradtracer_server.runbook import shown_runs
from gradtracer_server.runs import Run
from gradtracer_server.source.anchors import Anchor, gone, resolve
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.renames import renamed, stands_with_another
from gradtracer_server.source.suppressions import suppressed
from gradtracer_server.source.workspace import Workspace

FindingState = Literal["current", "outdated", "suppressed", "gone", "outside"]
"""`current` alone is published on a line; `outside`: no frame of it lies in the workspace."""


@dataclass(frozen=True, slots=True)
class FrameAnchor:
    """A frame of a site that lies in the workspace, and where its statement stands now."""

    frame: SourceFrame
    path: Path
    source: SourceText
    anchor: Anchor


Placed = dict[tuple[Path, SourceFrame], FrameAnchor | None]
"""By the run's folder, where its frames stand: most findings of a run name the same few lines of
its training, and each of their fixes asks for them again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnosis of a run, and what has become of the source it is about."""

    diagnosis: Diagnosis
    run: Run
    state: FindingState
    frames: list[FrameAnchor]
    """Frames inside the workspace, innermost first."""
    related: dict[str, list[FrameAnchor]]
    """Frames of the diagnosis' other sites, by role."""

    @property
    def path(self) -> Path | None:
        """The file it is shown in; None when it is `outside`."""
        return self.frames[0].path if self.frames else None

    @property
    def anchor(self) -> Anchor | None:
        """Its place in `path`; None when it is `outside`."""
        return self.frames[0].anchor if self.frames else None


def find(
    runs: Iterable[Run],
    documents: Documents,
    workspace: Workspace,
    disabled_types: Collection[str] = (),
    known: Iterable[Finding] = (),
) -> list[Finding]:
    """The findings of the runs that speak for their scripts, one for each layer and type.

    `known`: findings in these very texts, which stand where the run says nothing new of them.
    """
    standing = {id(finding.diagnosis): finding for finding in known}
    placed: Placed = {}
    findings: dict[tuple[object, ...], Finding] = {}
    for run in shown_runs(runs):
        for diagnosis in run.diagnoses.values():
            if diagnosis.type in disabled_types:
                continue
            finding = standing.get(id(diagnosis))
            if finding is None or finding.run is not run:
                finding = locate(diagnosis, run, documents, workspace, placed)
            # Two scripts may train one model class: the newer run speaks for the shared line.
            findings.setdefault(_key(finding), finding)
    return list(findings.values())


def locate(
    diagnosis: Diagnosis,
    run: Run,
    documents: Documents,
    workspace: Workspace,
    placed: Placed | None = None,
) -> Finding:
    """Place one diagnosis in the text as it is now.

    `placed`: what was found of frames in these very texts, which grows by what is found.
    """
    placed = {} if placed is None else placed
    frames = _follow_rename(resolve_site(diagnosis.site, run, documents, workspace, placed), run)
    related = {
        role: resolve_site(site, run, documents, workspace, placed)
        for role, site in diagnosis.related.items()
    }
    state = _state(diagnosis, frames)
    finding = Finding(diagnosis, run, state, frames, related)
    if state == "current" and addressed(fix_context(finding, documents, workspace, placed)):
        return replace(finding, state="outdated")
    return finding


def fix_context(
    finding: Finding, documents: Documents, workspace: Workspace, placed: Placed | None = None
) -> FixContext:
    """What the fixes of a finding work from."""

    def frames(site: SourceSite) -> list[Frame]:
        resolved = resolve_site(site, finding.run, documents, workspace, placed)
        return [(frame.path, frame.source, frame.anchor) for frame in resolved]

    return FixContext(diagnosis=finding.diagnosis, offer=None, frames=frames)


def resolve_site(
    site: SourceSite,
    run: Run,
    documents: Documents,
    workspace: Workspace,
    placed: Placed | None = None,
) -> list[FrameAnchor]:
    """The frames of a site that lie in the workspace and can be read, innermost first."""
    placed = {} if placed is None else placed
    resolved: list[FrameAnchor] = []
    for frame in site.frames:
        key = (run.folder, frame)
        if key not in placed:
            placed[key] = _place(frame, run, documents, workspace)
        found = placed[key]
        if found is not None:
            resolved.append(found)
    return resolved


def _place(
    frame: SourceFrame, run: Run, documents: Documents, workspace: Workspace
) -> FrameAnchor | None:
    if frame.cell:
        return _in_a_cell(frame, run, documents)
    root = run.started.root if run.started else str(run.root)
    path = workspace.resolve_file(frame.file, root, run.root)
    if path is not None:
        return _in_text(frame, path, run, documents)
    # A frame further out is no place for what stood in a file that was deleted.
    lost = workspace.lost_file(frame.file, root, run.root)
    return None if lost is None else FrameAnchor(frame, lost, SourceText.parse(""), gone(frame))


def _in_text(frame: SourceFrame, path: Path, run: Run, documents: Documents) -> FrameAnchor | None:
    source = documents.get(path)
    if source is None:
        return None
    near = documents.current_line(path, frame.start_line - 1)
    anchor = resolve(frame, source, near, documents.known_scopes(path))
    if stands_with_another(anchor, frame, source, _recorded(run)):
        anchor = gone(frame)
    return FrameAnchor(frame, path, source, anchor)


def _in_a_cell(frame: SourceFrame, run: Run, documents: Documents) -> FrameAnchor | None:
    """The frame in the cell that was run; where none is known, in the one that has its statement.

    One that no open cell has is outside: it may be of another notebook.
    """

    def within(paths: list[Path]) -> list[FrameAnchor]:
        placed = (_in_text(frame, path, run, documents) for path in paths)
        return [each for each in placed if each is not None]

    if run_in := within(documents.cells.run_as(frame)):
        return next((each for each in run_in if each.anchor.state != "gone"), run_in[0])
    found = within(documents.cells.all())
    for states in (("exact", "moved"), ("outdated",)):
        alike = [each for each in found if each.anchor.state in states]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _recorded(run: Run) -> Iterator[SourceFrame]:
    """The frames of all layers of a run."""
    return (frame for each in run.layers.values() for frame in each.watched.site.frames)


def _follow_rename(frames: list[FrameAnchor], run: Run) -> list[FrameAnchor]:
    """The frames, the first of them on the statement that took another name since the run."""
    if not frames or frames[0].anchor.state != "gone":
        return frames
    first, *rest = frames
    anchor = renamed(first.frame, first.source, _recorded(run))
    return frames if anchor is None else [replace(first, anchor=anchor), *rest]


def _state(diagnosis: Diagnosis, frames: list[FrameAnchor]) -> FindingState:
    """By the definition alone: what was measured of a layer stands, however the run is watched."""
    if not frames:
        return "outside"
    first = frames[0]
    if first.anchor.state == "gone":
        return "gone"
    if first.anchor.state == "outdated":
        return "outdated"
    if suppressed(first.source, first.anchor, diagnosis.type):
        return "suppressed"
    return "current"


def _key(finding: Finding) -> tuple[object, ...]:
    diagnosis = finding.diagnosis
    place = (finding.run.root, finding.run.id) if finding.path is None else (finding.path, None)
    return (diagnosis.type, diagnosis.layer, *place)
