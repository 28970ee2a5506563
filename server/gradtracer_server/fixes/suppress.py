"""Silence a diagnosis with a comment on its own line."""

from __future__ import annotations

from gradtracer_server.exceptions import EditRefused, NotApplicable
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit, apply_edits, verify
from gradtracer_server.source.index import Position, Range, SourceText
from gradtracer_server.source.suppressions import end_of_list, ignored, suppressed

NAME = "suppress"
TITLE = "Ignore this diagnosis"


def plan(context: FixContext) -> Plan:
    """Name the type in a comment on the last line of the statement, else on its first."""
    type = context.diagnosis.type
    for path, source, anchor in context.frames(context.diagnosis.site)[:1]:
        if anchor.range is None:
            break
        if suppressed(source, anchor, type):
            raise NotApplicable(f"a comment on the statement already ignores {type}")
        lines = [anchor.range.end.line, anchor.range.start.line]
        for line in sorted(lines, key=lambda each: end_of_list(source, each) is None):
            edit = _comment(source, line, type)
            if _takes_effect(source, edit, line, type):
                return Plan(f"Ignore {type} on line {line + 1}", {path: (source, [edit])})
        raise NotApplicable(
            "no comment can stand where the statement begins or ends; give it lines of its own"
        )
    raise NotApplicable("the statement that defines the layer is not in the workspace any more")


def _comment(source: SourceText, line: int, type: str) -> TextEdit:
    place = end_of_list(source, line)
    if place is not None:
        return TextEdit(Range(place[0], place[0]), f", {type}" if place[1] else type)
    text = source.lines[line]
    end = Position(line, len(text))
    spaces = " " * max(0, 2 - (len(text) - len(text.rstrip())))
    return TextEdit(Range(end, end), f"{spaces}# gradtracer: ignore[{type}]")


def _takes_effect(source: SourceText, edit: TextEdit, line: int, type: str) -> bool:
    """Whether the edit makes a comment: in a string or after a backslash it would not."""
    if source.lines[line].rstrip().endswith("\\") and source.comment_on(line) is None:
        return False
    after = apply_edits(source.text, [edit])
    try:
        verify(source.text, after)
    except EditRefused:
        return False
    return type in ignored(SourceText.parse(after), line)
