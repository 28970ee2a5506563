"""textDocument/codeAction: the remedies of the findings that the client asks about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from lsprotocol import types

from gradtracer_server.features import fix_all
from gradtracer_server.features.diagnostic_items import SOURCE
from gradtracer_server.features.live_control import LIVE, live_action
from gradtracer_server.features.proposed_edits import SUPPRESS, propose, workspace_edit
from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from gradtracer_server.findings import Finding
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)

_Asked = tuple["Finding", list[types.Diagnostic]]
"""A finding, and the client's own copies of its diagnostic."""


def code_action(
    ls: GradTracerServer, params: types.CodeActionParams
) -> list[types.CodeAction] | None:
    """Quick fixes, and as refactorings those of them that restructure the code.

    Their edits come with `codeAction/resolve` where the client can ask for them.
    """
    path = path_of(params.text_document.uri)
    if ls.session is None or path is None or not ls.support.code_action_literals:
        return None
    if fix_all.asked_for(params.context.only):
        ls.session.settle()
        action = fix_all.fix_all(ls, path)
        return None if action is None else [action]
    kind = _wanted(params.context.only)
    if kind is None:
        return None
    ls.session.settle()
    found = _asked(ls, path, params)
    actions: list[types.CodeAction] = []
    for choice in _choices(ls, found):
        if kind == types.CodeActionKind.RefactorRewrite and not choice.fix.rewrites:
            continue
        action = _action(ls, choice, kind)
        if action is not None:
            if choice.fix.name == SUPPRESS and len(found) > 1:
                action.title = _naming_layers(choice, found)
            actions.append(action)
    asking = found if kind == types.CodeActionKind.QuickFix else []
    live = [(live_action(finding), asked) for finding, asked in asking]
    for action, asked in live:
        if action is not None:
            action.diagnostics = asked or None
            actions.append(action)
    return actions or None


@dataclass(slots=True)
class _Choice:
    """A fix that one or several of the findings asked about propose."""

    finding: Finding
    fix: ProposedFix
    asked: list[types.Diagnostic]


def _choices(ls: GradTracerServer, found: list[_Asked]) -> list[_Choice]:
    """The fixes of all findings: the preferred ones, the others, those that only silence."""
    choices: dict[tuple[Any, ...], _Choice] = {}
    for finding, asked in found:
        for fix in propose(ls, finding):
            # Layers built in a loop share one statement, and so the edit of it.
            same = (fix.name, fix.title, finding.path, finding.anchor)
            if same in choices:
                known = choices[same].asked
                known += [each for each in asked if each not in known]
            else:
                choices[same] = _Choice(finding, fix, list(asked))
    return sorted(
        choices.values(),
        key=lambda each: (each.fix.name == SUPPRESS, not each.fix.preferred),
    )


def _naming_layers(choice: _Choice, found: list[_Asked]) -> str:
    """The title with the layers that the comment would silence: others are asked about too."""
    from gradtracer_server.render.escape import clean
    from gradtracer_server.render.numbers import listed

    of = choice.finding
    layers = [
        clean(each.diagnosis.layer, 120)
        for each, _ in found
        if each.diagnosis.type == of.diagnosis.type and each.anchor == of.anchor
    ]
    type_ = of.diagnosis.type
    return choice.fix.title.replace(type_, f"{type_} of {listed(layers)}", 1)


def _action(
    ls: GradTracerServer, choice: _Choice, kind: types.CodeActionKind
) -> types.CodeAction | None:
    finding, fix = choice.finding, choice.fix
    if fix.disabled_reason is not None and not ls.support.code_action_disabled:
        return None
    action = types.CodeAction(
        title=fix.title,
        kind=kind,
        diagnostics=choice.asked or None,
        is_preferred=fix.preferred if ls.support.code_action_preferred else None,
    )
    if fix.disabled_reason is not None:
        action.disabled = types.CodeActionDisabled(reason=fix.disabled_reason)
        action.is_preferred = None
    elif ls.support.code_action_resolves_edit:
        action.data = {
            "id": finding.diagnosis.id,
            "fix": fix.name,
            "path": str(finding.path),
            "version": _version(ls, finding),
        }
    else:
        action.edit = workspace_edit(ls, fix)
        if action.edit is None:
            return None
    return action


def _version(ls: GradTracerServer, finding: Finding) -> int | None:
    if ls.session is None or finding.path is None:
        return None
    return ls.session.documents.version(finding.path)


def _wanted(only: Sequence[str | types.CodeActionKind] | None) -> types.CodeActionKind | None:
    """The kind that is asked for: a kind stands for its sub-kinds too. Without any, quick fixes."""
    kinds = [kind.value if isinstance(kind, types.CodeActionKind) else kind for kind in only or []]
    if not kinds or any(not kind or f"{LIVE}.".startswith(f"{kind}.") for kind in kinds):
        return types.CodeActionKind.QuickFix
    rewrite = types.CodeActionKind.RefactorRewrite
    return rewrite if any(f"{rewrite.value}.".startswith(f"{kind}.") for kind in kinds) else None


def _asked(ls: GradTracerServer, path: Path, params: types.CodeActionParams) -> list[_Asked]:
    """The findings the request is about, each with the client's own copy of its diagnostic.

    A client that hands ids back is believed about them alone: its ranges may be those of an older
    text. One that sends none is asked about where the cursor is in the text as it is now.
    """
    session = ls.session
    assert session is not None
    named: dict[str, list[types.Diagnostic]] = {}
    for diagnostic in params.context.diagnostics:
        for identity in _ids(diagnostic):
            named.setdefault(identity, []).append(diagnostic)
    if named:
        known = ((session.finding(identity), asked) for identity, asked in named.items())
        return [
            (finding, asked)
            for finding, asked in known
            if finding is not None and finding.state == "current"
        ]
    source = session.documents.get(path)
    if source is None:
        return []
    place = ls.units.range_from_client(source.lines, params.range)
    return [
        (finding, [])
        for finding in session.findings_between(path, place)
        if finding.state == "current"
    ]


def _ids(diagnostic: types.Diagnostic) -> list[str]:
    if diagnostic.source != SOURCE or not isinstance(diagnostic.data, dict):
        return []
    ids = cast("dict[str, Any]", diagnostic.data).get("ids")
    if not isinstance(ids, list):
        return []
    return [each for each in cast("list[Any]", ids) if isinstance(each, str)]
