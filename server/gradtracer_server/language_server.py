"""The language server: every method it answers, and the state of its one client.

Only pygls and what answers `initialize` is imported here; a session brings in the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from gradtracer_server.capabilities import ClientSupport
from gradtracer_server.features import (
    code_action,
    code_action_resolve,
    code_lens,
    configuration,
    diagnostic,
    did_rename_files,
    execute_command,
    fix_all,
    hover,
    inlay_hint,
    lifecycle,
    notebook_document_sync,
    runs,
    text_document_content,
    text_document_sync,
    watched_files,
    workspace_diagnostic,
    workspace_folders,
)
from gradtracer_server.locations import PositionUnits
from gradtracer_server.protocol import BoundedProtocol

if TYPE_CHECKING:
    from pygls.server import ServerErrors

    from gradtracer_server.session import Session

logger = logging.getLogger(__name__)

QUICK_FIXES = types.CodeActionOptions(
    code_action_kinds=[
        types.CodeActionKind.QuickFix,
        types.CodeActionKind.RefactorRewrite,
        fix_all.KIND,
    ],
    resolve_provider=True,
)

FEATURES: tuple[tuple[str, Callable[..., Any], Any], ...] = (
    (types.INITIALIZE, lifecycle.initialize, None),
    (types.INITIALIZED, lifecycle.initialized, None),
    (types.SHUTDOWN, lifecycle.shutdown, None),
    (types.TEXT_DOCUMENT_DID_OPEN, text_document_sync.did_open, None),
    (types.TEXT_DOCUMENT_DID_CHANGE, text_document_sync.did_change, None),
    (types.TEXT_DOCUMENT_DID_SAVE, text_document_sync.did_save, None),
    (types.TEXT_DOCUMENT_DID_CLOSE, text_document_sync.did_close, None),
    (types.NOTEBOOK_DOCUMENT_DID_OPEN, notebook_document_sync.did_open, None),
    (types.NOTEBOOK_DOCUMENT_DID_CHANGE, notebook_document_sync.did_change, None),
    (types.NOTEBOOK_DOCUMENT_DID_CLOSE, notebook_document_sync.did_close, None),
    (types.TEXT_DOCUMENT_HOVER, hover.hover, None),
    (types.TEXT_DOCUMENT_CODE_ACTION, code_action.code_action, QUICK_FIXES),
    (types.TEXT_DOCUMENT_INLAY_HINT, inlay_hint.inlay_hint, types.InlayHintOptions()),
    (types.TEXT_DOCUMENT_CODE_LENS, code_lens.code_lens, types.CodeLensOptions()),
    (types.CODE_ACTION_RESOLVE, code_action_resolve.code_action_resolve, None),
    (types.WORKSPACE_DID_CHANGE_CONFIGURATION, configuration.did_change_configuration, None),
    (types.WORKSPACE_DID_RENAME_FILES, did_rename_files.did_rename_files, did_rename_files.OPTIONS),
    (types.WORKSPACE_DID_CHANGE_WATCHED_FILES, watched_files.did_change_watched_files, None),
    (types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS, workspace_folders.did_change, None),
    (runs.RUNS, runs.runs, None),
    (runs.RUN, runs.run, None),
    (runs.LAYER_SERIES, runs.layer_series, None),
    (runs.STATISTIC, runs.statistic, None),
    (runs.PLACE, runs.place, None),
    (runs.FOLLOW, runs.follow, None),
)
"""Every method the server always answers, with its handler and the options it announces."""

OPTIONAL_FEATURES: tuple[tuple[str, str, Callable[..., Any], Any], ...] = (
    ("pull_diagnostics", types.TEXT_DOCUMENT_DIAGNOSTIC, diagnostic.diagnostic, diagnostic.OPTIONS),
    (
        "pull_diagnostics",
        types.WORKSPACE_DIAGNOSTIC,
        workspace_diagnostic.workspace_diagnostic,
        None,
    ),
    (
        "text_document_content",
        types.WORKSPACE_TEXT_DOCUMENT_CONTENT,
        text_document_content.text_document_content,
        text_document_content.OPTIONS,
    ),
)
"""Methods that only a client with the ability named is told of."""


class GradTracerServer(LanguageServer):
    """One client's server."""

    def __init__(self) -> None:
        super().__init__(
            "gradtracer",
            _version(),
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            notebook_document_sync=notebook_document_sync.OPTIONS,
            protocol_cls=BoundedProtocol,
            max_workers=2,
        )
        self.support = ClientSupport()
        self.units = PositionUnits(None)
        self.options: object = None
        """The editor's settings as it sent them with `initialize`; they stand below later ones."""
        self.settings_sent: object = None
        """The editor's settings as it last sent them."""
        self._complained: set[str] = set()
        self.over_tcp = False
        self.said_goodbye = False
        """Whether the client asked for shutdown before it left."""
        self.uris: dict[Path, str] = {}
        """The open files, by the client's own spelling of their names."""
        self.session: Session | None = None
        """From `initialized` to `shutdown`."""
        self.life = lifecycle.Life(self)
        self.asks_about_all = False
        """Whether the client asks about the diagnostics of the whole workspace."""
        self.followed_content: dict[str, None] = {}
        """The documents of ours that the client has asked for, in the order it did."""
        for method, handler, options in FEATURES:
            self.feature(method, options)(handler)
        for name, command in execute_command.COMMANDS.items():
            self.command(name)(self._bound(command))

    def _bound(self, command: execute_command.Command) -> execute_command.Command:
        """The command on this server; pygls would want its annotations to exist at run time."""

        async def run(*arguments: Any) -> Any:
            return await command(self, *arguments)

        return run

    def announce(self) -> None:
        """Take up the features that this client can make use of, before it is told of any."""
        for ability, method, handler, options in OPTIONAL_FEATURES:
            if getattr(self.support, ability):
                self.feature(method, options)(handler)

    def asks_about(self, path: Path) -> bool:
        """Whether the client asks about the diagnostics of a file itself."""
        return self.support.pull_diagnostics and (self.asks_about_all or path in self.uris)

    def configure(self, settings: object = None) -> None:
        """Take the editor's settings; one that cannot be used is named in the log and left out."""
        self.settings_sent = settings
        if self.session is None:
            return
        problems = {str(each) for each in self.session.configure(self.options, settings)}
        for problem in sorted(problems - self._complained):
            self.log_to_client(problem)
        self._complained = problems

    def uri_of(self, path: Path) -> str:
        """The URI of a file, spelt as the client spells it where it has opened the file."""
        return self.uris.get(path) or path.as_uri()

    def leave(self) -> None:
        """End the process as if the client had closed the connection."""
        if self.protocol.writer is not None:
            self.protocol.writer.close()

    def report_server_error(self, error: Exception, source: ServerErrors) -> None:
        """Log what went wrong; no client is bothered with a popup."""
        logger.error("%s: %s", source.__name__, error)

    def log_to_client(self, message: str) -> None:
        """One line in the client's log."""
        self.window_log_message(
            types.LogMessageParams(type=types.MessageType.Info, message=message)
        )


def _version() -> str:
    try:
        return version("gradtracer")
    except PackageNotFoundError:
        return "0"
