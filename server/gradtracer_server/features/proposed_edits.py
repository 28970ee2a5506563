"""The fixes of a finding, and their edits as the client takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from pathlib import Path

    from gradtracer_server.findings import Finding
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.source.edits import TextEdit

_ANNOTATION = "changes-the-model"
SUPPRESS = "suppress"
"""Name of the fix that silences a finding."""


def propose(ls: GradTracerServer, finding: Finding) -> list[ProposedFix]:
    """The fixes of a finding, as the headless commands offer them."""
    from gradtracer_server.findings import fix_context
    from gradtracer_server.fixes.registry import propose as registered

    session = ls.session
    if session is None:
        return []
    return registered(fix_context(finding, session.documents, session.workspace))


def workspace_edit(
    ls: GradTracerServer, fix: ProposedFix, *, named: bool = False
) -> types.WorkspaceEdit | None:
    """The fix's edit in the client's units; None, and a line in its log, where it is refused.

    `named`: the user asked for this very fix, and is not asked again where it changes the model.
    """
    from gradtracer_server.exceptions import ServerError

    session = ls.session
    if session is None:
        return None
    try:
        edits = fix.edits()
    except ServerError as error:
        ls.log_to_client(f"{fix.title}: {error}")
        return None
    from gradtracer_server.fixes.safety import is_safe

    return edit_of(ls, edits, "" if named or is_safe(fix) else fix.title)


def edit_of(
    ls: GradTracerServer, edits: Mapping[Path, Sequence[TextEdit]], to_confirm: str = ""
) -> types.WorkspaceEdit:
    """Edits in the client's units, tied to the versions of its documents where it knows them.

    `to_confirm`: what they do, when it changes the model: a client that can will ask first.
    """
    session = ls.session
    assert session is not None
    if not ls.support.document_changes:
        return types.WorkspaceEdit(
            changes={ls.uri_of(path): _edits(ls, path, made) for path, made in edits.items()}
        )
    annotation = None
    if to_confirm and ls.support.change_annotations:
        annotation = types.ChangeAnnotation(
            label=to_confirm,
            needs_confirmation=True,
            description="changes the model: checkpoints of the present one may not load",
        )
    return types.WorkspaceEdit(
        change_annotations=None if annotation is None else {_ANNOTATION: annotation},
        document_changes=[
            types.TextDocumentEdit(
                text_document=types.OptionalVersionedTextDocumentIdentifier(
                    uri=ls.uri_of(path), version=session.documents.version(path)
                ),
                edits=[
                    each
                    if annotation is None
                    else types.AnnotatedTextEdit(_ANNOTATION, each.range, each.new_text)
                    for each in _edits(ls, path, made)
                ],
            )
            for path, made in edits.items()
        ],
    )


def _edits(ls: GradTracerServer, path: Path, made: Sequence[TextEdit]) -> list[types.TextEdit]:
    source = ls.session.documents.get(path) if ls.session is not None else None
    lines = source.lines if source is not None else []
    return [
        types.TextEdit(range=ls.units.range_to_client(lines, edit.range), new_text=edit.new_text)
        for edit in made
    ]
