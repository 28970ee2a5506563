"""Files that were moved outside the editor, `git mv` say: found again by what stands in them.

A run does not know the whole of a file, only the statements that it recorded there. The one file in
which all of them stand as they did, on their lines and in their scopes, and that came to its place
after the run began, is the file; where there is none, or are several, what was in it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gradtracer_schemas import SourceFrame
from gradtracer_server.discovery import folders_below
from gradtracer_server.runs import Run
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.workspace import Workspace


def follow_moves(runs: Iterable[Run], documents: Documents, workspace: Workspace) -> None:
    """Tell the workspace the new names of files that runs recorded and that are not there."""
    runs = list(runs)
    for run in runs:
        for lost, frames in _lost(run, workspace).items():
            found = _found(lost, run, frames, runs, documents, workspace)
            if found is not None:
                workspace.rename(lost, found)


def _lost(run: Run, workspace: Workspace) -> dict[Path, list[SourceFrame]]:
    """The files of a run that are missing, with what it recorded in them."""
    root = run.started.root if run.started else str(run.root)
    lost = {file: workspace.lost_file(file, root, run.root) for file in _files(run)}
    found: dict[Path, list[SourceFrame]] = {}
    for frame in _frames(run):
        path = lost.get(frame.file)
        if path is not None and frame.text.strip():
            found.setdefault(path, []).append(frame)
    return found


def _found(
    lost: Path,
    run: Run,
    frames: list[SourceFrame],
    runs: Iterable[Run],
    documents: Documents,
    workspace: Workspace,
) -> Path | None:
    distinct = list(dict.fromkeys(frames))
    known = {Path(file) for each in runs for file in _files(each)}
    alike = [
        path
        for path in _sources(workspace.roots)
        if path not in known
        and _came_since(run.started_at or 0.0, path, lost)
        and _stands_in(distinct, path, documents)
    ]
    return alike[0] if len(alike) == 1 else None


def _stands_in(frames: list[SourceFrame], path: Path, documents: Documents) -> bool:
    source = documents.get(path)
    if source is None or not all(frame.text in source.text for frame in frames[:1]):
        return False
    return all(resolve(frame, source).state == "exact" for frame in frames)


def _came_since(time: float, path: Path, lost: Path) -> bool:
    """Whether a file was written or renamed since a time, or one of its folders was.

    A folder's time says that something in it changed: it counts where a folder of the lost file is
    missing, too, and the file has the same name below it.
    """
    if _changed_at(path) >= time:
        return True
    missing = [folder for folder in lost.parents if not folder.exists()]
    if not missing:
        return False
    below = lost.relative_to(missing[-1])
    ends_alike = path.parts[-len(below.parts) :] == below.parts
    return ends_alike and _changed_at(path.parents[len(below.parts) - 1]) >= time


def _changed_at(path: Path) -> float:
    try:
        status = path.lstat()
    except OSError:
        return 0.0
    return max(status.st_ctime, status.st_mtime)


def _sources(roots: Iterable[Path]) -> Iterator[Path]:
    """The Python files of a workspace."""
    folders = (each for root in roots for each in (root, *folders_below(root)))
    for folder in dict.fromkeys(folders):
        yield from (each for each in sorted(folder.glob("*.py")) if not each.is_symlink())


def _files(run: Run) -> set[str]:
    return {frame.file for frame in _frames(run)}


def _frames(run: Run) -> Iterator[SourceFrame]:
    """What a run recorded of files: where its layers are defined, and where it is trained."""
    sites = [state.watched.site for state in run.layers.values()]
    for diagnosis in run.diagnoses.values():
        sites += [diagnosis.site, *diagnosis.related.values()]
    if run.started is not None:
        sites.append(run.started.watch)
    return (frame for site in sites for frame in site.frames if not frame.cell)
