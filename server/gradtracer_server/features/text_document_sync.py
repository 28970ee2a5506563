"""textDocument/didOpen, didChange, didSave, didClose: the session's texts follow the editor's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import is_cell, path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

PYTHON = "python"


def did_open(ls: GradTracerServer, params: types.DidOpenTextDocumentParams) -> None:
    """Take the editor's text of a Python file in place of the disk's."""
    document = params.text_document
    path = path_of(document.uri)
    if ls.session is None or path is None:
        return
    if document.language_id != PYTHON and path.suffix != ".py":
        return
    if not ls.session.roots:
        ls.session.add_root(path.parent)
    ls.uris[path] = document.uri
    # Some clients know no notebooks, but open their cells one by one.
    opened = ls.session.documents.open_cell if is_cell(document.uri) else ls.session.documents.open
    opened(path, document.text, document.version)
    ls.session.texts_changed()


def did_change(ls: GradTracerServer, params: types.DidChangeTextDocumentParams) -> None:
    """Apply the edits one by one: each counts in the text that the one before it left."""
    path = path_of(params.text_document.uri)
    if ls.session is None or path is None or path not in ls.uris:
        return
    apply_changes(ls, path, params.content_changes, params.text_document.version)
    ls.session.texts_changed()


def did_save(ls: GradTracerServer, params: types.DidSaveTextDocumentParams) -> None:
    """Look at the text again: what is on disk may have changed with it."""
    if ls.session is not None:
        ls.session.texts_changed()


def did_close(ls: GradTracerServer, params: types.DidCloseTextDocumentParams) -> None:
    """Go back to the disk's text."""
    path = path_of(params.text_document.uri)
    if ls.session is None or path is None or ls.uris.pop(path, None) is None:
        return
    ls.session.documents.close(path)
    ls.session.texts_changed()


def apply_changes(
    ls: GradTracerServer,
    path: Path,
    changes: Sequence[types.TextDocumentContentChangeEvent],
    version: int,
) -> None:
    """Make edits of an open buffer, in the order given."""
    assert ls.session is not None
    documents = ls.session.documents
    for change in changes:
        source = documents.get(path)
        where = None
        if source is not None and isinstance(change, types.TextDocumentContentChangePartial):
            where = ls.units.range_from_client(source.lines, change.range)
        documents.apply(path, [(where, change.text)], version)
