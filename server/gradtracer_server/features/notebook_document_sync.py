"""notebookDocument/didOpen, didChange, didClose: each code cell is a document of its own.

What holds for documents (diagnostics, hovers, hints, actions) then holds for cells, by their URIs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.features.text_document_sync import PYTHON, apply_changes
from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

OPTIONS = types.NotebookDocumentSyncOptions(
    notebook_selector=[
        types.NotebookDocumentFilterWithNotebook(
            notebook="jupyter-notebook", cells=[types.NotebookCellLanguage(language=PYTHON)]
        )
    ],
    save=False,
)


def did_open(ls: GradTracerServer, params: types.DidOpenNotebookDocumentParams) -> None:
    """Take in the code cells."""
    if ls.session is None:
        return
    notebook = path_of(params.notebook_document.uri)
    if not ls.session.roots and notebook is not None:
        ls.session.add_root(notebook.parent)
    _open(ls, params.cell_text_documents)
    ls.session.texts_changed()


def did_change(ls: GradTracerServer, params: types.DidChangeNotebookDocumentParams) -> None:
    """Cells were added, removed or edited; where they stand in the notebook says nothing to us."""
    cells = params.change.cells
    if ls.session is None or cells is None:
        return
    if cells.structure is not None:
        # A cell that is moved is closed and opened: what it has been is still to be remembered.
        opened = cells.structure.did_open or ()
        kept = {cell.uri for cell in opened}
        _close(ls, [cell for cell in cells.structure.did_close or () if cell.uri not in kept])
        _open(ls, opened)
    for edited in cells.text_content or ():
        path = path_of(edited.document.uri)
        if path is not None and path in ls.uris:
            apply_changes(ls, path, edited.changes, edited.document.version)
    ls.session.texts_changed()


def did_close(ls: GradTracerServer, params: types.DidCloseNotebookDocumentParams) -> None:
    """Forget the cells."""
    if ls.session is not None:
        _close(ls, params.cell_text_documents)
        ls.session.texts_changed()


def _open(ls: GradTracerServer, cells: Iterable[types.TextDocumentItem]) -> None:
    assert ls.session is not None
    for cell in cells:
        path = path_of(cell.uri)
        # A client may send the cells of other languages too.
        if path is not None and cell.language_id == PYTHON:
            ls.uris[path] = cell.uri
            ls.session.documents.open_cell(path, cell.text, cell.version)


def _close(ls: GradTracerServer, cells: Iterable[types.TextDocumentIdentifier]) -> None:
    assert ls.session is not None
    for cell in cells:
        path = path_of(cell.uri)
        if path is not None and ls.uris.pop(path, None) is not None:
            ls.session.documents.close(path)
