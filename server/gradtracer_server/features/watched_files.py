"""workspace/didChangeWatchedFiles: a hint to look now; the poll finds everything without it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lsprotocol import types

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)

PATTERNS = ("**/.gradtracer/runs/*/connection.json", "**/*.py")
"""A run that begins or ends, and source that something other than the editor changed."""


def register(ls: GradTracerServer) -> None:
    """Ask the client to watch files, where it can be asked."""
    if not ls.support.watches_files:
        return
    options = types.DidChangeWatchedFilesRegistrationOptions(
        watchers=[types.FileSystemWatcher(glob_pattern=pattern) for pattern in PATTERNS]
    )
    registration = types.Registration(
        id="gradtracer-files",
        method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES,
        register_options=options,
    )
    ls.client_register_capability(
        types.RegistrationParams(registrations=[registration])
    ).add_done_callback(_log_refusal)


def did_change_watched_files(
    ls: GradTracerServer, params: types.DidChangeWatchedFilesParams
) -> None:
    """Look at the runs and the texts again."""
    if ls.session is not None:
        ls.session.watcher.wake()
        ls.session.files_changed()


def _log_refusal(answer: Future[Any]) -> None:
    if not answer.cancelled() and (error := answer.exception()) is not None:
        logger.info("the client watches no files: %s", error)
