"""initialize, initialized, shutdown: when a session begins and how everything of it ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from gradtracer_server.capabilities import ClientSupport
from gradtracer_server.features import configuration, text_document_content, watched_files
from gradtracer_server.features.diagnostic_items import diagnostics
from gradtracer_server.features.progress import ProgressReporter
from gradtracer_server.features.publish_diagnostics import DiagnosticPublisher
from gradtracer_server.features.refresh import Refresh
from gradtracer_server.features.runs import RunFeed
from gradtracer_server.features.status import StatusReporter
from gradtracer_server.locations import PositionUnits, path_of

if TYPE_CHECKING:
    from gradtracer_server.failures import Failure
    from gradtracer_server.features.attachment import Listener
    from gradtracer_server.findings import Finding
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.runs import Run
    from gradtracer_server.session import Session

logger = logging.getLogger(__name__)

HINT_SECONDS = 1.0
"""Figures at the end of a line change no more often: they draw the eye."""
PARENT_SECONDS = 2.0
"""How often a server without a stdin looks whether its editor still lives."""


class Life:
    """The tasks and threads of a server, from `initialized` to `shutdown` or the end of input."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._tasks: list[asyncio.Task[None]] = []
        self.shown: dict[Path, list[types.Diagnostic]] = {}
        """The diagnostics of each file, as of the last renewal."""
        self.publisher = DiagnosticPublisher(ls)
        self.progress = ProgressReporter(ls)
        self.runs = RunFeed(ls)
        self.status = StatusReporter(ls)
        self._complained: set[Path] = set()
        self._listener: Listener | None = None
        self._findings: Sequence[Finding] | None = None
        self._failures: Sequence[Failure] = ()

    def begin(self) -> None:
        """Open the session and start to watch runs."""
        from gradtracer_server.session import Session

        if self._ls.session is not None:
            return
        ls, support = self._ls, self._ls.support
        self._refresh_diagnostics = Refresh(
            ls, ls.workspace_diagnostic_refresh_async, wanted=support.pull_diagnostics
        )
        self._refresh_hints = Refresh(
            ls,
            ls.workspace_inlay_hint_refresh_async,
            wanted=support.refreshes_hints,
            quiet=HINT_SECONDS,
        )
        self._refresh_content = Refresh(
            ls,
            lambda _: text_document_content.refresh(ls),
            wanted=support.text_document_content,
            quiet=HINT_SECONDS,
        )
        self._refresh_lenses = Refresh(
            ls, ls.workspace_code_lens_refresh_async, wanted=support.refreshes_lenses
        )
        self._ls.session = session = Session(_roots(self._ls), self._renewed)
        self._ls.configure(self._ls.settings_sent)
        # What hovers are written with: the first of them should not wait for it.
        importlib.import_module("gradtracer_server.render.markdown")
        self.spawn(session.watcher.watch(), "runs")

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine until it ends or the server does."""
        task = asyncio.get_running_loop().create_task(work, name=f"gradtracer-{name}")
        self._tasks.append(task)
        task.add_done_callback(self._done)

    def watch_parent(self) -> None:
        """End the process when the editor that started it is gone."""
        from gradtracer_server.liveness import process_alive

        parent = self._ls.process_id
        # A client on another machine sends a number that means nothing here.
        if parent is not None and process_alive(parent):
            self.spawn(self._outlive(parent), "parent")

    async def stop(self) -> None:
        """Cancel the tasks, wait for them, close the session."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.end()

    def end(self) -> None:
        """Close what needs no event loop."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.runs.stop()
        session, self._ls.session = self._ls.session, None
        if session is not None:
            session.close()

    async def _outlive(self, parent: int) -> None:
        from gradtracer_server.liveness import process_alive

        while process_alive(parent):
            await asyncio.sleep(PARENT_SECONDS)
        logger.warning("the editor (process %d) is gone: leaving", parent)
        self._ls.leave()

    def _renewed(self) -> None:
        session = self._ls.session
        if session is not None:
            self._show(session)
            self.progress.update(session.all_runs)
            self.runs.renewed()
            self._complain(session.all_runs)
            self._announce(session.all_runs)

    def _announce(self, runs: Sequence[Run]) -> None:
        """Let commands and agents that work on the projects of these runs find this server."""
        if not runs:
            return
        from gradtracer_server.discovery import HOME

        if self._listener is None:
            from gradtracer_server.features.attachment import Listener

            self._listener = Listener(self._ls)
        self._listener.announce(dict.fromkeys(run.root / HOME for run in runs))

    def _show(self, session: Session) -> None:
        if session.findings is not self._findings or session.failures != self._failures:
            self._findings, self._failures = session.findings, session.failures
            self.shown = diagnostics(self._ls, session.findings, session.failures)
            self.publisher.publish(self.shown)
            # An edit moves them, and of that the client knows.
            said = {path: [each.message for each in found] for path, found in self.shown.items()}
            self._refresh_diagnostics.when_changed(said)
        settings = session.settings
        self._refresh_hints.when_changed((session.watcher.book.revision, settings))
        lenses = [each.diagnosis.id for each in session.findings if settings.code_lens]
        self._refresh_lenses.when_changed(lenses)
        self._refresh_content.when_changed(session.watcher.book.revision)
        self.status.update()

    def _complain(self, runs: Sequence[Run]) -> None:
        """Name each run that cannot be read in the client's log, once."""
        for run in runs:
            if run.unreadable and run.folder not in self._complained:
                from gradtracer_server.render.text import unreadable_line

                self._complained.add(run.folder)
                self._ls.log_to_client(unreadable_line(run))

    def _done(self, task: asyncio.Task[None]) -> None:
        with contextlib.suppress(ValueError):
            self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped", task.get_name(), exc_info=error)


def initialize(ls: GradTracerServer, params: types.InitializeParams) -> None:
    """Learn what the client can do; nothing else, so that the answer is fast."""
    ls.support = ClientSupport.of(params.capabilities)
    ls.announce()
    ls.options = params.initialization_options


def initialized(ls: GradTracerServer, params: types.InitializedParams) -> None:
    """The client is ready: begin."""
    ls.units = PositionUnits(ls.server_capabilities.position_encoding)
    ls.life.begin()
    watched_files.register(ls)
    if ls.support.configuration:
        ls.life.spawn(configuration.fetch(ls), "configuration")
    if ls.over_tcp:
        ls.life.watch_parent()


async def shutdown(ls: GradTracerServer, params: None) -> None:
    """Stop every task and thread before the answer is sent."""
    ls.said_goodbye = True
    await ls.life.stop()


def _roots(ls: GradTracerServer) -> list[Path]:
    """The workspace's folders; none in single-file mode, until a file is opened."""
    uris = [folder.uri for folder in ls.workspace.folders.values()]
    if not uris and ls.workspace.root_uri:
        uris = [ls.workspace.root_uri]
    paths = (path_of(uri) for uri in uris)
    return [path for path in paths if path is not None]
