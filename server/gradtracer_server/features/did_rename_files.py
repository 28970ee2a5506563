"""workspace/didRenameFiles: what a run recorded of a file is looked for under its new name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

OPTIONS = types.FileOperationRegistrationOptions(
    filters=[
        types.FileOperationFilter(pattern=types.FileOperationPattern(glob=glob, matches=kind))
        for glob, kind in (
            ("**/*.py", types.FileOperationPatternKind.File),
            ("**", types.FileOperationPatternKind.Folder),
        )
    ]
)


def did_rename_files(ls: GradTracerServer, params: types.RenameFilesParams) -> None:
    """Remember the new names of files and folders until the next run records them."""
    if ls.session is None:
        return
    for renamed in params.files:
        old, new = path_of(renamed.old_uri), path_of(renamed.new_uri)
        if old is not None and new is not None:
            ls.session.workspace.rename(old, new)
    ls.session.texts_changed()
