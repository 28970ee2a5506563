"""codeAction/resolve: the edit of the action that was chosen, for the text it was offered on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lsprotocol import types

from gradtracer_server.features.proposed_edits import propose, workspace_edit

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer


def code_action_resolve(ls: GradTracerServer, action: types.CodeAction) -> types.CodeAction:
    """Fill in the edit; where the text has changed since the offer, leave it out and say so."""
    if ls.session is None or not isinstance(action.data, dict):
        return action
    offer = cast("dict[str, Any]", action.data)
    ls.session.settle()
    finding = ls.session.finding(str(offer.get("id")))
    if finding is None or finding.state != "current":
        ls.log_to_client(f"{action.title}: the finding no longer holds, nothing was edited")
        return action
    path = Path(str(offer.get("path")))
    if ls.session.documents.version(path) != offer.get("version"):
        ls.log_to_client(f"{action.title}: the text has changed since, ask again")
        return action
    fix = next((each for each in propose(ls, finding) if each.name == offer.get("fix")), None)
    if fix is None or fix.disabled_reason is not None:
        ls.log_to_client(f"{action.title}: cannot be made here any more, nothing was edited")
        return action
    action.edit = workspace_edit(ls, fix)
    return action
