"""workspace/diagnostic: the diagnostics of every file that has some, and of those that had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.features.diagnostic import result_id
from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer


def workspace_diagnostic(
    ls: GradTracerServer, params: types.WorkspaceDiagnosticParams
) -> types.WorkspaceDiagnosticReport:
    """A report for each file, `unchanged` where the client has it.

    From the first of these questions on, no file's diagnostics are sent without being asked for.
    """
    session = ls.session
    if session is None:
        return types.WorkspaceDiagnosticReport(items=[])
    ls.asks_about_all = True
    session.settle()
    known = {each.uri: each.value for each in params.previous_result_ids}
    shown = {ls.uri_of(path): (path, found) for path, found in ls.life.shown.items()}
    items: list[types.WorkspaceDocumentDiagnosticReport] = []
    for uri in sorted(shown.keys() | known.keys()):
        path, found = shown.get(uri, (path_of(uri), []))
        identity = result_id(found)
        version = session.documents.version(path) if path is not None else None
        if known.get(uri) == identity:
            items.append(
                types.WorkspaceUnchangedDocumentDiagnosticReport(
                    uri=uri, result_id=identity, version=version
                )
            )
        else:
            items.append(
                types.WorkspaceFullDocumentDiagnosticReport(
                    uri=uri, items=found, result_id=identity, version=version
                )
            )
    ls.life.publisher.publish(ls.life.shown)
    return types.WorkspaceDiagnosticReport(items=items)
