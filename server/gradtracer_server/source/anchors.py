"""From a recorded frame to where its statement stands in the text as it is now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.binding import binding_in, callee_in
from gradtracer_server.source.broken import (
    find_target,
    find_verbatim,
    has_scope,
    scope_by_indentation,
)
from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.index import Range, SourceText, Statement
from gradtracer_server.source.statements import MODULE_SCOPE, enclosing_scope, loose_key

_ASSIGNS = " = "

AnchorState = Literal["exact", "moved", "outdated", "gone"]
"""`exact`: the statement stands on the recorded line; `moved`: on another, with the same content;
`outdated`: its place is known, its content has changed; `gone`: not found."""


@dataclass(frozen=True)
class Anchor:
    """Where a frame's statement stands now."""

    state: AnchorState
    """How much of it is still so."""
    range: Range | None
    """The statement; of a compound one, its header. None when gone."""
    focus: Range | None
    """The call in it that built the layer, else the statement. None when gone."""
    qualname: str
    """Qualified name of the scope it stands in now; the recorded one when gone."""


def resolve(
    frame: SourceFrame,
    source: SourceText,
    near_line: int | None = None,
    known_scopes: Collection[str] | None = None,
) -> Anchor:
    """Find a frame's statement.

    `near_line`, from 0, says where the recorded line is by now (`Documents.current_line`); without
    it the search begins at the recorded line itself. `known_scopes`: the scopes that the text had
    when it was opened (`Documents.known_scopes`); a new name in the place of the recorded one is
    then a renamed class.
    """
    near = near_line if near_line is not None else frame.start_line - 1
    scope = enclosing_scope(frame.qualname)
    if not frame.text.strip():
        here = next((s for s in source.statements_on(near) if s.scope == scope), None)
        return _unchanged(here, frame, source)
    form = canonical(frame.text)
    same = _in_scope(form, frame, source, near, scope)
    if source.broken and (same is None or same.line != near):
        # A syntax error may give statements a wrong scope: what the lines say goes first.
        by_lines = _by_indentation(frame, source, near, scope)
        if by_lines is not None:
            return by_lines
    if same is not None:
        return _unchanged(same, frame, source)
    changed = _rebound(frame, source, near, scope)
    if changed is not None:
        return _anchor("outdated", changed, frame, source)
    if source.broken:
        alike = [] if has_scope(source.lines, scope) else find_verbatim(frame.text, source)
        inside = [scope_by_indentation(source.lines, each.start.line) for each in alike]
        found = len(alike) == 1 and _is_renamed_scope(scope, inside[0])
        if not found or inside[0] in (known_scopes or ()):
            return gone(frame)
        return replace(_by_lines(alike[0], frame), qualname=inside[0])
    found = _elsewhere(form, source, scope, known_scopes or ())
    if found is None and known_scopes is not None and not source.statements_in(scope):
        here = (each for each in source.statements_like(form) if each.line == near)
        found = next((each for each in here if each.scope not in known_scopes), None)
    return _unchanged(found, frame, source)


def _unchanged(statement: Statement | None, frame: SourceFrame, source: SourceText) -> Anchor:
    if statement is None:
        return gone(frame)
    return _anchor(_state(statement.line, frame), statement, frame, source)


def _by_indentation(frame: SourceFrame, source: SourceText, near: int, scope: str) -> Anchor | None:
    """By the lines alone, as a syntax error hides statements from the tree."""
    alike = [
        found
        for found in find_verbatim(frame.text, source)
        if scope_by_indentation(source.lines, found.start.line) == scope
    ]
    if alike:
        return _by_lines(min(alike, key=lambda each: abs(each.start.line - near)), frame)
    typed = find_target(frame.text, source, near)
    if typed is None or scope_by_indentation(source.lines, near) != scope:
        return None
    return Anchor("outdated", typed, typed, frame.qualname)


def _by_lines(found: Range, frame: SourceFrame) -> Anchor:
    return Anchor(_state(found.start.line, frame), found, found, frame.qualname)


def _state(line: int, frame: SourceFrame) -> AnchorState:
    return "exact" if line == frame.start_line - 1 else "moved"


def _in_scope(
    form: str, frame: SourceFrame, source: SourceText, near: int, scope: str
) -> Statement | None:
    """The nearest statement of the recorded content in the recorded scope."""
    key = loose_key(form)
    here = [s for s in source.statements_on(near) if s.key == key and s.scope == scope]
    if len(here) == 1 and source.canonical(here[0]) == form:
        # The common case, which needs no index of the whole text.
        return here[0]
    return _nearest(source.statements_like(form, scope), near, frame.start_column)


def _nearest(alike: list[Statement], line: int, column: int = 0) -> Statement | None:
    """Of statements in the order of the text, the one nearest to a place."""
    if not alike:
        return None
    after = bisect_left(alike, line, key=lambda statement: statement.line)
    around = alike[max(0, after - 1) : after + 1]
    best = min((each.line for each in around), key=lambda each: abs(each - line))
    first = bisect_left(alike, best, key=lambda statement: statement.line)
    on_line = takewhile(lambda statement: statement.line == best, alike[first : first + 100])
    return min(on_line, key=lambda statement: abs(statement.span.column - column))


def _elsewhere(
    form: str, source: SourceText, scope: str, known_scopes: Collection[str]
) -> Statement | None:
    """The statement of the recorded content in another scope, where it can be no other one."""
    alike = source.statements_like(form)
    if source.statements_in(scope):
        # The scope is still there, so it was not renamed: only within its class may a line move,
        # and what names a local variable may have had its like in another method all along.
        target = binding_in(form)
        if target is not None and target.names_one_thing and "." not in target.name:
            return None
        family = scope.partition(".")[0]
        alike = [each for each in alike if each.scope.partition(".")[0] == family]
        return alike[0] if len(alike) == 1 else None
    # A renamed class keeps the names of its methods; a renamed function, its level.
    alike = [
        each
        for each in alike
        if _is_renamed_scope(scope, each.scope) and each.scope not in known_scopes
    ]
    return alike[0] if len(alike) == 1 else None


def _is_renamed_scope(before: str, now: str) -> bool:
    outer, _, name = before.rpartition(".")
    other, _, same = now.rpartition(".")
    if outer:
        return bool(other) and name == same
    return not other and (before == MODULE_SCOPE) == (now == MODULE_SCOPE)


def _rebound(frame: SourceFrame, source: SourceText, near: int, scope: str) -> Statement | None:
    """The statement that now binds, in the same scope, what the recorded one bound.

    Branches may bind one name several times, and one of them may have been renamed: what remains
    is then no version of it, whatever its name.
    """
    target = binding_in(frame.text)
    if target is None:
        return None
    same = source.statements_binding(target, scope)
    alike = [each for each in same if _calls_the_same(each, frame, source)]
    here = [each for each in (alike if len(same) > 1 else same) if each.line == near]
    if here and (here[0] in alike or not value_elsewhere(frame, source, scope)):
        return here[0]
    if not target.names_one_thing:
        return same[0] if len(same) == 1 else None
    if len(same) != 1 or not alike or value_elsewhere(frame, source, scope):
        return None
    return same[0]


def _calls_the_same(statement: Statement, frame: SourceFrame, source: SourceText) -> bool:
    """Whether a statement has a call of what the recorded one called, or neither has any."""
    callee = callee_in(frame.expression or frame.text)
    return not callee or any(form.startswith(f"{callee} (") for form in source.calls(statement))


def value_elsewhere(frame: SourceFrame, source: SourceText, scope: str) -> list[Statement]:
    """The statements of a scope that assign the recorded value to another name."""
    target, assigns, value = canonical(frame.text).partition(_ASSIGNS)
    if not assigns:
        return []
    return [
        statement
        for statement in source.statements_in(scope)
        if (parts := source.canonical(statement).partition(_ASSIGNS))[1]
        and parts[2] == value
        and parts[0] != target
    ]


def _anchor(
    state: AnchorState, statement: Statement, frame: SourceFrame, source: SourceText
) -> Anchor:
    whole = source.range_of(statement.span)
    return Anchor(state, whole, _focus(statement, frame, source) or whole, statement.scope)


def _focus(statement: Statement, frame: SourceFrame, source: SourceText) -> Range | None:
    """Range of the recorded call; in a changed statement, of the first to the same function."""
    if not frame.expression.strip():
        return None
    calls = source.calls(statement)
    span = calls.get(canonical(frame.expression))
    if span is None and (callee := callee_in(frame.expression)):
        span = next((span for form, span in calls.items() if form.startswith(f"{callee} (")), None)
    return None if span is None else source.range_of(span.placed_at(statement.span))


def gone(frame: SourceFrame) -> Anchor:
    """The anchor of a statement that is not found."""
    return Anchor("gone", None, None, frame.qualname)
