"""From a recorded frame to where its statement stands in the text as it is now."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.binding import binding_in, callee_in
from gradtracer_server.source.broken import find_target, find_verbatim
from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.index import Range, SourceText, Statement
from gradtracer_server.source.statements import enclosing_scope, loose_key

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


def resolve(frame: SourceFrame, source: SourceText, near_line: int | None = None) -> Anchor:
    """Find a frame's statement.

    `near_line`, from 0, says where the recorded line is by now (`Documents.current_line`); without
    it the search begins at the recorded line itself.
    """
    near = near_line if near_line is not None else frame.start_line - 1
    scope = enclosing_scope(frame.qualname)
    if not frame.text.strip():
        here = next((s for s in source.statements_on(near) if s.scope == scope), None)
        return _unchanged(here, frame, source)
    form = canonical(frame.text)
    same = _in_scope(form, frame, source, near, scope)
    if source.broken and (same is None or same.line != near):
        # A syntax error may give statements a wrong scope: what its own line says goes first.
        at_place = _in_its_place(frame, source, near)
        if at_place is not None:
            return at_place
    if same is not None:
        return _unchanged(same, frame, source)
    changed = _rebound(frame, source, near, scope)
    if changed is not None:
        return _anchor("outdated", changed, frame, source)
    if source.broken:
        alike = find_verbatim(frame.text, source)
        return _by_lines(alike[0], frame) if len(alike) == 1 else _gone(frame)
    return _unchanged(_elsewhere(form, source, near, scope), frame, source)


def _unchanged(statement: Statement | None, frame: SourceFrame, source: SourceText) -> Anchor:
    if statement is None:
        return _gone(frame)
    return _anchor(_state(statement.line, frame), statement, frame, source)


def _in_its_place(frame: SourceFrame, source: SourceText, near: int) -> Anchor | None:
    """By the lines alone, as a syntax error hides statements from the tree."""
    for found in find_verbatim(frame.text, source):
        if found.start.line == near:
            return _by_lines(found, frame)
    typed = find_target(frame.text, source, near)
    return None if typed is None else Anchor("outdated", typed, typed, frame.qualname)


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


def _elsewhere(form: str, source: SourceText, near: int, scope: str) -> Statement | None:
    """The statement of the recorded content in another scope, where it can be no other one."""
    alike = source.statements_like(form)
    if source.statements_in(scope):
        # The scope is still there, so it was not renamed: only within its class may a line move.
        family = scope.partition(".")[0]
        alike = [each for each in alike if each.scope.partition(".")[0] == family]
        return alike[0] if len(alike) == 1 else None
    if len(alike) == 1:
        return alike[0]
    return next((statement for statement in alike if statement.line == near), None)


def _rebound(frame: SourceFrame, source: SourceText, near: int, scope: str) -> Statement | None:
    """The statement that now binds, in the same scope, what the recorded one bound."""
    target = binding_in(frame.text)
    if target is None:
        return None
    same = source.statements_binding(target, scope)
    if not target.names_one_thing and len(same) > 1:
        # Of several calls of one function none is a version of another: only the place tells.
        same = [statement for statement in same if statement.line == near]
    return _nearest(same, near)


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


def _gone(frame: SourceFrame) -> Anchor:
    return Anchor("gone", None, None, frame.qualname)
