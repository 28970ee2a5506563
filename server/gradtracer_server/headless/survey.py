"""What the commands look at: the runs around some paths, and their findings in the files there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradtracer_schemas import DiagnosisType
from gradtracer_server.attachment.client import Editor, editors
from gradtracer_server.exceptions import SettingsError
from gradtracer_server.findings import Finding, find, fix_context
from gradtracer_server.fixes.application import (
    STALE,
    Change,
    Outcome,
    apply_changes,
    as_expected,
)
from gradtracer_server.fixes.registry import propose
from gradtracer_server.headless.notebooks import notebooks
from gradtracer_server.headless.paths import run_book
from gradtracer_server.moved import follow_moves
from gradtracer_server.runbook import RunBook
from gradtracer_server.runs import Run
from gradtracer_server.settings import load_settings
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.notebooks import SUFFIX, code_cells, file_of
from gradtracer_server.source.workspace import Workspace

if TYPE_CHECKING:
    from gradtracer_server.fixes.proposal import ProposedFix


@dataclass(frozen=True, slots=True)
class Survey:
    """The runs and findings around some paths."""

    folders: list[Path]
    """The folders that were looked at."""
    book: RunBook
    documents: Documents
    workspace: Workspace
    findings: list[Finding]
    """In the order of the files and their lines; those outside the workspace last."""
    complaints: list[SettingsError]
    """Settings that could not be used."""
    paths: list[Path]
    """What the findings are limited to; all of them where it is empty."""
    disabled: list[DiagnosisType]
    """Types that the settings switch off."""
    unsaved: dict[Path, Editor]
    """Files whose text here is that of an open editor, which has not saved it."""

    @property
    def runs(self) -> list[Run]:
        """The runs that speak for their scripts."""
        return self.book.shown()

    def fixes(self, finding: Finding) -> list[ProposedFix]:
        """What can be done about a finding; nothing where its source has changed."""
        if finding.state != "current":
            return []
        return propose(fix_context(finding, self.documents, self.workspace))

    def repairs(self, finding: Finding) -> list[ProposedFix]:
        """As `fixes`, without silencing."""
        if finding.state != "current":
            return []
        return propose(fix_context(finding, self.documents, self.workspace), silence=False)

    def apply(
        self, changes: Sequence[Change], expect_sha256: str | None = None, label: str = ""
    ) -> Outcome:
        """Make changes on disk; where an editor has unsaved text of one, in that editor's buffers.

        `expect_sha256` as in `apply_changes`; `label`: what an editor may call it.
        """
        for change in changes:
            if self._edited_in_cells(change):
                reason = f"{change.path} has unsaved changes in an open editor: save it there first"
                return Outcome("conflict", reason)
        holders = [editor for each in changes if (editor := self._holder(each.path)) is not None]
        if not holders:
            return apply_changes(changes, expect_sha256)
        if not as_expected(changes, expect_sha256):
            return STALE
        if any(each != holders[0] for each in holders):
            return Outcome("conflict", "the files have unsaved changes in several editors")
        outcome = holders[0].edit(changes, label)
        if outcome.state == "applied":
            for change in changes:
                self.documents.take(change.path, change.after.decode("utf-8"))
        return outcome

    def _holder(self, path: Path) -> Editor | None:
        return self.unsaved.get(path.resolve())

    def _edited_in_cells(self, change: Change) -> bool:
        """Whether an editor has a notebook open, and a cell of it that the file does not have."""
        if change.path.suffix != SUFFIX:
            return False
        saved = {each.text for each in code_cells(change.before.decode("utf-8"))}
        file = change.path.resolve()
        mine = (each for each in self.unsaved if each.parent == file.parent)
        texts = (self.documents.get(p) for p in mine if p.name.startswith(f"{file.name}#"))
        return any(text is not None and text.text not in saved for text in texts)

    def again(self) -> Survey:
        """The same runs, and the texts as they are by now."""
        found = find(self.book.runs, self.documents, self.workspace, self.disabled)
        wanted = [each for each in found if not self.paths or _within(each, self.paths)]
        return replace(self, findings=sorted(wanted, key=place))


def survey(paths: Sequence[Path], *, attach: bool = False) -> Survey:
    """Look around paths; without any, around the current folder.

    `attach`: take the unsaved texts of open editors in place of the files.

    Raises:
        UsageError: a path does not exist.
    """
    book = run_book(paths)
    folders = list(book.roots)
    # From a subfolder of a project the whole project is meant, as far as its own runs reach.
    holders = [run.root for run in book.runs if _above(run.root, folders)]
    workspace = Workspace(dict.fromkeys([*holders, *folders]))
    documents = Documents()
    if _of_cells(book.shown()):
        for path, content in notebooks(workspace.roots):
            documents.take(path, content)
    follow_moves(book.shown(), documents, workspace)
    settings, complaints = load_settings(dict.fromkeys([*folders, *holders]))
    seen = Survey(
        folders,
        book,
        documents,
        workspace,
        [],
        complaints,
        list(paths),
        list(settings.disabled_types),
        _unsaved([run.root for run in book.runs], documents) if attach else {},
    )
    return seen.again()


def _of_cells(runs: Iterable[Run]) -> bool:
    """Whether runs found anything in a notebook: only then are there notebooks to be read."""
    return any(
        frame.cell
        for run in runs
        for diagnosis in run.diagnoses.values()
        for frame in diagnosis.site.frames
    )


def _unsaved(roots: Sequence[Path], documents: Documents) -> dict[Path, Editor]:
    """Put the unsaved texts of open editors into the documents; whose they are."""
    holders: dict[Path, Editor] = {}
    for editor in editors(dict.fromkeys(roots)):
        for path, text in editor.unsaved().items():
            if holders.setdefault(path.resolve(), editor) is editor:
                documents.open(path, text, 0)
    return holders


def place(finding: Finding) -> tuple[bool, str, tuple[int, int], str]:
    """Sort key: by file and line, then by type; layers stay in the order of the run."""
    anchor = finding.anchor
    where = anchor.focus or anchor.range if anchor else None
    return (
        finding.path is None,
        str(finding.path),
        where.start if where else (0, 0),
        finding.diagnosis.type,
    )


def _above(root: Path, folders: Sequence[Path]) -> bool:
    return any(folder.is_relative_to(root) for folder in folders)


def _within(finding: Finding, paths: Sequence[Path]) -> bool:
    shown = file_of(finding.path)[0] if finding.path else finding.run.root
    return any(shown.resolve().is_relative_to(path.resolve()) for path in paths)
