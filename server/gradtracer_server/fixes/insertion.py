"""New text where a fix needs room: an argument, a statement before or after another one.

Everything new is laid out as what stands around it, and nothing that stands there is touched.
"""

from __future__ import annotations

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import Arguments
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import Position, Range, SourceText


def insert(source: SourceText, byte: int, text: str) -> TextEdit:
    """Text at a byte of the source."""
    position = source.position_of(byte)
    return TextEdit(Range(position, position), text)


def line_break(source: SourceText) -> str:
    """What ends the lines of a text."""
    if "\r\n" in source.text:
        return "\r\n"
    return "\r" if "\r" in source.text and "\n" not in source.text else "\n"


def indent_of(source: SourceText, node: Node) -> str | None:
    """The white space before a node that is the first on its line."""
    line = source.lines[node.start_point.row]
    before = line[: source.range_of(node).start.column].removeprefix("\ufeff")
    return before if not before.strip() else None


def line_indent(source: SourceText, node: Node) -> str:
    """The white space that the line begins with on which a node begins."""
    line = source.lines[node.start_point.row].removeprefix("\ufeff")
    return line[: len(line) - len(line.lstrip())]


def indent_unit(source: SourceText) -> str:
    """What one more level is indented by: a tab where tabs are used, else four spaces."""
    indented = next((line for line in source.lines if line[:1] in ("\t", " ")), "")
    return "\t" if indented.startswith("\t") else "    "


def new_argument(source: SourceText, passed: Arguments, text: str) -> list[TextEdit]:
    """One more argument after the last, laid out as the call is."""
    return new_item(source, passed.node, text)


def new_item(source: SourceText, listed: Node, text: str) -> list[TextEdit]:
    """One more item at the end of a bracketed list, laid out as the others."""
    inside = listed.children[1:-1]
    closing = listed.children[-1]
    given = [child for child in inside if child.is_named and not _passed_over(child)]
    if not given:
        return [insert(source, closing.start_byte, text)]
    last = given[-1]
    comma = next((c for c in inside if c.type == "," and c.start_byte >= last.end_byte), None)
    end = last if comma is None else comma
    indent = indent_of(source, last)
    if indent is None or closing.start_point.row == last.end_point.row:
        after = f", {text}" if comma is None else f" {text},"
        return [insert(source, end.end_byte, after)]
    row = end.end_point.row
    notes = [c for c in inside if c.type == "comment" and c.start_point.row == row]
    place = max([end.end_byte, *(note.end_byte for note in notes)])
    new_line = f"{line_break(source)}{indent}{text}"
    if comma is not None:
        return [insert(source, place, f"{new_line},")]
    if place == last.end_byte:
        return [insert(source, place, f",{new_line}")]
    return [insert(source, last.end_byte, ","), insert(source, place, new_line)]


def _passed_over(node: Node) -> bool:
    return node.type in ("comment", "line_continuation")


def statement_around(node: Node) -> Node:
    """The simple statement that a node stands in. Raises `NotApplicable` where it is a header."""
    inner = node
    while (around := inner.parent) is not None and around.type not in ("block", "module"):
        inner = around
    if inner.child_by_field_name("body") is not None or inner.type.endswith("_definition"):
        line = node.start_point.row + 1
        raise NotApplicable(f"line {line} is the head of a block, before which nothing can be put")
    return inner


def before(source: SourceText, statement: Node, texts: list[str]) -> TextEdit:
    """Statements right before one, on lines of their own where it has one."""
    indent = indent_of(source, statement)
    if indent is None:
        return insert(source, statement.start_byte, "".join(f"{text}; " for text in texts))
    end = f"{line_break(source)}{indent}"
    return insert(source, statement.start_byte, "".join(f"{text}{end}" for text in texts))


def after(source: SourceText, statement: Node, texts: list[str]) -> TextEdit:
    """Statements right after one, on lines of their own where it has one."""
    indent = indent_of(source, statement)
    row = statement.end_point.row
    line = source.lines[row]
    rest = line[source.range_of(statement).end.column :].strip()
    comment = source.comment_on(row)
    if indent is None or (rest and (comment is None or not rest.startswith("#"))):
        return insert(source, statement.end_byte, "".join(f"; {text}" for text in texts))
    end = Position(row, len(line))
    start = f"{line_break(source)}{indent}"
    return TextEdit(Range(end, end), "".join(f"{start}{text}" for text in texts))
