"""textDocument/publishDiagnostics: what each file shows, sent only when it changed.

Of files that the client asks about itself, nothing is sent: see `diagnostic.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer


class DiagnosticPublisher:
    """Remembers what each file was told, and tells it only what is new."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._told: dict[Path, tuple[str, str]] = {}
        """By file: the name it was told under, and what."""

    def publish(self, shown: Mapping[Path, Sequence[types.Diagnostic]]) -> None:
        """Make every file that the client does not ask about show these, and no others."""
        for path in sorted(shown.keys() | self._told.keys()):
            self._tell(path, [] if self._ls.asks_about(path) else shown.get(path, []))

    def _tell(self, path: Path, found: Sequence[types.Diagnostic]) -> None:
        uri, content = self._ls.uri_of(path), repr(found)
        known = self._told.pop(path, None)
        if known is not None and known[0] != uri:
            # The editor has opened the file under another spelling of its name.
            self._send(known[0], None, [])
            known = None
        if known is None and not found:
            return
        if known is None or known[1] != content:
            session = self._ls.session
            self._send(uri, session.documents.version(path) if session else None, found)
        if found:
            self._told[path] = (uri, content)

    def _send(self, uri: str, version: int | None, found: Sequence[types.Diagnostic]) -> None:
        self._ls.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version)
        )
