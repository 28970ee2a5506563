"""workspace/didChangeWorkspaceFolders: runs are looked for in the folders open now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer


def did_change(ls: GradTracerServer, params: types.DidChangeWorkspaceFoldersParams) -> None:
    """Take in the folders that were opened and drop those that were closed."""
    if ls.session is None:
        return
    for folder in params.event.removed:
        if (path := path_of(folder.uri)) is not None:
            ls.session.remove_root(path)
    for folder in params.event.added:
        if (path := path_of(folder.uri)) is not None:
            ls.session.add_root(path)
