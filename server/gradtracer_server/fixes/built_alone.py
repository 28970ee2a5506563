"""Whether the statement that builds a table builds others too, which an edit of it would change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from tree_sitter import Node

from gradtracer_schemas import SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import ancestor, callee_name, calls_in
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.fixes.table_uses import known_files
from gradtracer_server.fixes.tables import Table
from gradtracer_server.source.index import SourceText

_COMPREHENSIONS = frozenset(
    {"dictionary_comprehension", "generator_expression", "list_comprehension", "set_comprehension"}
)
_LOOPS = frozenset({"for_statement", "while_statement"})
_SCOPES = frozenset({"class_definition", "function_definition", "module"})
_NO_NAMES = frozenset({"", "__init__", "cls"})
"""What calls whatever class it stands in."""


def check_alone(found: Table, context: FixContext, instead: str) -> None:
    """Raise `NotApplicable` where a loop, or another call of what builds the table, builds more.

    `instead`: what to do then, to this table alone.
    """
    if _repeats(found.call):
        raise NotApplicable(f"line {found.line} builds several tables, in a loop; {instead}")
    frames = context.diagnosis.site.frames
    own = len(frames) - len(found.callers) - 1
    for inner, outer in pairwise(frames[own:]):
        for path, source, anchor in context.frames(SourceSite(frames=[outer])):
            calls = calls_in(source, anchor)
            if len(calls) != 1:
                continue
            call, within = calls[0], ancestor(calls[0], "class_definition") is not None
            line, name = call.start_point.row + 1, callee_name(call)
            if within and _repeats(call):
                raise NotApplicable(
                    f"line {found.line} builds the tables of all that line {line} of {path.name} "
                    f"builds, in a loop; {instead}"
                )
            # What only leads to the model, such as main(), may be called as often as it likes.
            if not (within or inner.qualname.endswith(".__init__")) or name in _NO_NAMES:
                continue
            count = sum(1 for text in known_files(context).values() for _ in _calls(text, name))
            if count > 1:
                raise NotApplicable(
                    f"line {found.line} builds the tables of {count} calls of {name}; {instead}, "
                    f"for the call on line {line} of {path.name}"
                )


def _repeats(call: Node) -> bool:
    """Whether a comprehension, or in a class a loop, may make a call several times."""
    around = call.parent
    looped = False
    while around is not None and around.type not in _SCOPES:
        if around.type in _COMPREHENSIONS:
            return True
        looped = looped or around.type in _LOOPS
        around = around.parent
    return looped and ancestor(call, "class_definition") is not None


def _calls(source: SourceText, name: str) -> Iterator[Node]:
    """The calls of what has a name."""
    for match in re.finditer(rb"\b" + re.escape(name.encode()) + rb"(?=\s*\()", source.data):
        node = source.root.descendant_for_byte_range(*match.span())
        around = None if node is None else ancestor(node, "call", "class_definition")
        function = None if around is None else around.child_by_field_name("function")
        if function is not None and node is not None and function.end_byte == node.end_byte:
            yield node
