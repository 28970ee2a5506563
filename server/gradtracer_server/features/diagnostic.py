"""textDocument/diagnostic: the diagnostics of a document, to clients that can be told to ask again.

A client that asks about documents and cannot be told would show what a run said long ago: it is
sent them instead. Of one document nobody is told twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

OPTIONS = types.DiagnosticOptions(
    identifier="gradtracer", inter_file_dependencies=True, workspace_diagnostics=True
)

Report = types.RelatedFullDocumentDiagnosticReport | types.RelatedUnchangedDocumentDiagnosticReport


def diagnostic(ls: GradTracerServer, params: types.DocumentDiagnosticParams) -> Report:
    """What the document shows now; `unchanged` where that is what the client has."""
    found: Sequence[types.Diagnostic] = ()
    path = path_of(params.text_document.uri)
    if ls.session is not None and path is not None:
        ls.session.settle()
        found = ls.life.shown.get(path, ())
    identity = result_id(found)
    if identity == params.previous_result_id:
        return types.RelatedUnchangedDocumentDiagnosticReport(result_id=identity)
    return types.RelatedFullDocumentDiagnosticReport(items=list(found), result_id=identity)


def result_id(found: Sequence[types.Diagnostic]) -> str:
    """A hash of what is shown: runs change it while the text stays, and back again."""
    import hashlib

    return hashlib.sha256(repr(found).encode("utf-8", "replace")).hexdigest()[:16]
