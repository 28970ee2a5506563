"""Calls in the source, and what is passed in them."""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node

from gradtracer_server.source.anchors import Anchor
from gradtracer_server.source.grammar import decode
from gradtracer_server.source.index import SourceText


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call."""

    node: Node
    """The list, with its parentheses."""
    positional: list[Node]
    """Those passed by place, up to the first `*` expansion."""
    keywords: dict[str, Node]
    """The `keyword_argument` nodes by name."""
    unpacked: bool
    """Whether a `*` expansion may pass more by place."""
    unpacked_keywords: bool
    """Whether a `**` expansion may pass any keyword."""

    def value(self, index: int | None, name: str) -> Node | None:
        """What is passed by a place (None: it cannot be) or by a name."""
        if index is not None and index < len(self.positional):
            return self.positional[index]
        keyword = self.keywords.get(name)
        return None if keyword is None else keyword.child_by_field_name("value")


def text_of(node: Node | None) -> str:
    """A node as it stands in the source."""
    return "" if node is None else decode(node.text or b"")


def arguments(call: Node) -> Arguments | None:
    """What a call passes; None where it is no well-formed list of arguments."""
    listed = call.child_by_field_name("arguments")
    if listed is None or listed.type != "argument_list" or listed.has_error:
        return None
    positional: list[Node] = []
    keywords: dict[str, Node] = {}
    unpacked = unpacked_keywords = False
    for child in listed.named_children:
        if child.type == "keyword_argument":
            keywords[text_of(child.child_by_field_name("name"))] = child
        elif child.type == "dictionary_splat":
            unpacked_keywords = True
        elif child.type == "list_splat":
            unpacked = True
        elif child.type not in ("comment", "line_continuation") and not unpacked:
            positional.append(child)
    return Arguments(listed, positional, keywords, unpacked, unpacked_keywords)


def callee_name(call: Node) -> str:
    """Last name of what a call calls: `Embedding` for `nn.Embedding(...)`."""
    function = call.child_by_field_name("function")
    if function is not None and function.type == "attribute":
        function = function.child_by_field_name("attribute")
    return text_of(function) if function is not None and function.type == "identifier" else ""


def original_name(source: SourceText, name: str) -> str:
    """What `import ... as name` renamed, by its last part; otherwise `name` itself."""
    return source.renamed.get(name, name)


def calls_in(source: SourceText, anchor: Anchor) -> list[Node]:
    """The call that an anchor's focus is; where it is wider, the calls in it."""
    statement = None if anchor.focus is None else source.statement_at(anchor.focus.start)
    if anchor.focus is None or statement is None:
        return []
    start = source.byte(source.offset(anchor.focus.start))
    end = source.byte(source.offset(anchor.focus.end))
    node = source.root.descendant_for_byte_range(start, end)
    if node is not None and node.type == "call" and node.byte_range == (start, end):
        return [node]
    calls = source.call_nodes(statement)
    return [call for call in calls if start <= call.start_byte and call.end_byte <= end]


def ancestor(node: Node, *kinds: str) -> Node | None:
    """The nearest node around a node that is of one of some types."""
    around = node.parent
    while around is not None and around.type not in kinds:
        around = around.parent
    return around
