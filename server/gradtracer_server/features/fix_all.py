"""source.fixAll.gradtracer: the safe fix of every finding of a file, as one edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.features.proposed_edits import SUPPRESS, edit_of, propose

if TYPE_CHECKING:
    from pathlib import Path

    from gradtracer_server.findings import Finding
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.source.edits import TextEdit

KIND = "source.fixAll.gradtracer"

_Edits = dict["Path", "list[TextEdit]"]


def asked_for(only: Sequence[str | types.CodeActionKind] | None) -> bool:
    """Whether a client asks for it: by its kind, or by one that it is a sub-kind of."""
    kinds = [kind.value if isinstance(kind, types.CodeActionKind) else kind for kind in only or []]
    return any(kind == KIND or KIND.startswith(f"{kind}.") for kind in kinds)


def fix_all(ls: GradTracerServer, path: Path) -> types.CodeAction | None:
    """The action with its edit; None where no safe fix can be made.

    Of fixes whose edits meet, the one that comes first is made: the others are worked out anew when
    the text says what it wrote.
    """
    session = ls.session
    if session is None:
        return None
    together: _Edits = {}
    made = 0
    for finding in session.findings:
        if finding.path == path and finding.state == "current":
            edits = next(_safe(ls, finding), None)
            made += edits is not None and _joins(together, edits)
    if not together or not _stands(ls, together):
        return None
    return types.CodeAction(
        title=f"Make {'the safe fix' if made == 1 else f'{made} safe fixes'} of this file",
        kind=KIND,
        edit=edit_of(ls, together),
    )


def _safe(ls: GradTracerServer, finding: Finding) -> Iterator[_Edits]:
    """The edits of each safe fix of a finding, the preferred first."""
    from gradtracer_server.exceptions import ServerError
    from gradtracer_server.fixes.safety import is_safe

    def silent(fix: ProposedFix) -> bool:
        return fix.name == SUPPRESS or fix.disabled_reason is not None or not is_safe(fix)

    for fix in sorted(propose(ls, finding), key=lambda fix: not fix.preferred):
        if not silent(fix):
            try:
                yield {path: list(edits) for path, edits in fix.edits().items()}
            except ServerError as error:
                ls.log_to_client(f"{fix.title}: {error}")


def _joins(together: _Edits, edits: _Edits) -> bool:
    """Take in the edits of a fix that meet none before; whether there was something to take in."""
    new = {
        path: [each for each in made if each not in together.get(path, [])]
        for path, made in edits.items()
    }
    for path, made in new.items():
        if any(_meet(one, other) for one in made for other in together.get(path, [])):
            return False
    for path, made in new.items():
        together.setdefault(path, []).extend(made)
    return any(new.values())


def _meet(one: TextEdit, other: TextEdit) -> bool:
    return one.range.start <= other.range.end and other.range.start <= one.range.end


def _stands(ls: GradTracerServer, together: _Edits) -> bool:
    """Whether the texts still parse with all edits made."""
    from gradtracer_server.exceptions import EditError
    from gradtracer_server.source.edits import apply_edits, verify

    session = ls.session
    for path, edits in together.items():
        source = session.documents.get(path) if session is not None else None
        if source is None:
            return False
        try:
            verify(source.text, apply_edits(source.text, edits))
        except EditError as error:
            ls.log_to_client(f"{path.name}: {error}")
            return False
    return True
