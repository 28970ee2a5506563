"""One editor's view: its documents, the runs around them, and what the runs say of the text.

Imports no pygls. It is loaded after `initialize` is answered, and brings in everything that the
answer can do without: tree-sitter, msgspec, and (with the first live run) ZeroMQ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from gradtracer_schemas import Diagnosis
from gradtracer_server.booster_parameters import PlacedParameter, parameters_at
from gradtracer_server.earlier import EarlierRun
from gradtracer_server.exceptions import SettingsError
from gradtracer_server.failures import Failure, failures
from gradtracer_server.findings import Finding, FrameAnchor, find, resolve_site
from gradtracer_server.layer_map import LayerMap, PlacedLayer
from gradtracer_server.moved import follow_moves
from gradtracer_server.pulse import Pulse
from gradtracer_server.runbook import shown_runs
from gradtracer_server.runs import Run
from gradtracer_server.settings import ServerSettings, load_settings
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.workspace import Workspace
from gradtracer_server.watcher import RunWatcher

logger = logging.getLogger(__name__)

_FileStamp = tuple[int, int]


class Session:
    """State of the server between `initialized` and `shutdown`; lives on the event loop."""

    def __init__(self, roots: Sequence[Path], renewed: Callable[[], None]) -> None:
        self.roots = list(roots)
        self.settings = ServerSettings()
        self.documents = Documents()
        self.workspace = Workspace(self.roots)
        self.findings: list[Finding] = []
        """What the runs say of the text, as of the last renewal."""
        self.failures: list[Failure] = []
        """Where those of the runs that failed did."""
        self.unfollowed: set[Path] = set()
        """Folders of the runs that the user wants to hear no more of."""
        self.pulse = Pulse(self._renew)
        self.watcher = RunWatcher(self.roots, self.pulse.ring)
        self.layers = LayerMap(self.documents, self.workspace)
        self._renewed = renewed
        self._texts_changed = True
        self._files_changed = True
        self._judged: list[Diagnosis] = []
        self._ended: list[Path] = []
        self._stamps: dict[Path, _FileStamp] = {}

    @property
    def runs(self) -> list[Run]:
        """The runs that speak for their scripts; empty until they have been read."""
        return shown_runs(self.all_runs)

    @property
    def all_runs(self) -> list[Run]:
        """Every run that is followed; empty until they have been read."""
        known = self.watcher.book.runs if self.watcher.ready else []
        return [run for run in known if run.folder not in self.unfollowed]

    def earlier(self, run: Run) -> EarlierRun | None:
        """The run of the same script before this one; None where there is none or it is unread."""
        return self.watcher.earlier.get(run.folder)

    def configure(self, *options: object) -> list[SettingsError]:
        """Take the settings of the project and the editor; what was wrong with them."""
        self.settings, problems = load_settings(self.roots, *options)
        self.watcher.interval = self.settings.poll_seconds
        self.watcher.allow_remote = self.settings.allow_remote_endpoints
        self.texts_changed()
        return problems

    def add_root(self, folder: Path) -> None:
        """Take in a folder: a workspace folder that was added, or that of a lone file."""
        if folder in self.roots:
            return
        self._set_roots([*self.roots, folder])

    def remove_root(self, folder: Path) -> None:
        """A workspace folder was closed."""
        self._set_roots([root for root in self.roots if root != folder])

    def follow(self, folder: Path, follow: bool) -> None:
        """Let the run in a folder speak in the text, or be as if it were not there."""
        (self.unfollowed.discard if follow else self.unfollowed.add)(folder)
        self.texts_changed()

    def texts_changed(self) -> None:
        """A document was opened, edited, saved or closed."""
        self._texts_changed = True
        self.pulse.ring_by_hand()

    def files_changed(self) -> None:
        """Something other than the editor wrote, moved or deleted files."""
        self._files_changed = True
        self.texts_changed()

    def finding(self, diagnosis_id: str) -> Finding | None:
        """The finding of an id that a client handed back."""
        return next((f for f in self.findings if f.diagnosis.id == diagnosis_id), None)

    def findings_between(self, path: Path, place: Range) -> list[Finding]:
        """The findings whose statement touches a range, outdated ones included."""
        return [
            finding
            for finding in self.findings
            if finding.path == path
            and finding.anchor is not None
            and finding.anchor.range is not None
            and finding.anchor.range.start <= place.end
            and place.start <= finding.anchor.range.end
        ]

    def layers_at(self, path: Path, position: Position) -> list[PlacedLayer]:
        """The layers that the statement at a position defines."""
        return self.layers.at(path, position, self.runs)

    def parameters_at(self, path: Path, position: Position) -> list[PlacedParameter]:
        """The parameters of boosters that the number at a position sets."""
        return parameters_at(path, position, self.runs, self.documents, self.workspace)

    def layers_between(self, path: Path, place: Range) -> list[list[PlacedLayer]]:
        """The layers that the statements in a range of lines define, statement by statement."""
        return self.layers.between(path, place, self.runs)

    def watch_frame(self, run: Run) -> FrameAnchor | None:
        """The call that began a run, where it stands in the workspace now."""
        if run.started is None:
            return None
        frames = resolve_site(run.started.watch, run, self.documents, self.workspace)
        return frames[0] if frames and frames[0].anchor.state in {"exact", "moved"} else None

    def settle(self) -> None:
        """Renew now if the text has changed since: an answer must be about the text as it is."""
        if self._texts_changed:
            self._renew()

    def close(self) -> None:
        """Stop every thread and timer."""
        self.pulse.stop()
        self.watcher.close()

    def _set_roots(self, roots: list[Path]) -> None:
        self.roots[:] = roots
        self.workspace = Workspace(self.roots)
        self.layers = LayerMap(self.documents, self.workspace)
        self.watcher.book.roots[:] = roots
        self.watcher.wake()
        self.texts_changed()

    def _renew(self) -> None:
        if not self.watcher.ready:
            return
        judged = [each for run in self.runs for each in run.diagnoses.values()]
        stamps = {path: _stamp(path) for path in self._stamps}
        self._files_changed |= stamps != self._stamps
        if self._files_changed:
            self._files_changed = False
            self._texts_changed = True
            follow_moves(self.runs, self.documents, self.workspace)
        moved = self._texts_changed
        ended = [run.folder for run in self.runs if run.ended is not None]
        judged_anew = [id(each) for each in judged] != [id(each) for each in self._judged]
        if moved or judged_anew or ended != self._ended:
            self._texts_changed = False
            self._judged = judged
            self._ended = ended
            self.findings = find(
                self.all_runs,
                self.documents,
                _Renewal(self.workspace),
                self.settings.disabled_types,
                known=() if moved else self.findings,
            )
            self.failures = failures(self.runs, self.documents, self.workspace)
            placed = [*self.findings, *self.failures]
            read = {frame.path for each in placed for frame in each.frames}
            self._stamps = {path: _stamp(path) for path in {*stamps, *read}}
        self._renewed()


class _Renewal(Workspace):
    """The workspace during one renewal: a file that many layers name is looked for once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[tuple[str, str, Path], Path | None] = {}
        super().__init__(workspace.roots)

    def resolve_file(self, file: str, run_root: str, runs_folder_root: Path) -> Path | None:
        """As the workspace does it, once for each recorded name."""
        asked = (file, run_root, runs_folder_root)
        if asked not in self._found:
            self._found[asked] = self._workspace.resolve_file(*asked)
        return self._found[asked]

    def lost_file(self, file: str, run_root: str, runs_folder_root: Path) -> Path | None:
        """As the workspace does it, which knows of renames."""
        return self._workspace.lost_file(file, run_root, runs_folder_root)


def _stamp(path: Path) -> _FileStamp:
    try:
        status = path.stat()
    except OSError:
        return 0, -1
    return status.st_mtime_ns, status.st_size
