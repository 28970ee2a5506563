"""The canonical form of a statement: what stays the same when a formatter rewrites it.

Whitespace, line breaks, comments, trailing commas, the style of quotes, redundant parentheses and
the letter case of numbers and prefixes do not count. Names, arguments and operators do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tree_sitter import Node

from gradtracer_server.source.grammar import decode, encode, parse_bytes

MAX_BYTES = 100_000
"""A longer statement is compared as it stands: no layer is defined by one."""

COMPOUND = frozenset(
    {
        "case_clause",
        "class_definition",
        "elif_clause",
        "except_clause",
        "for_statement",
        "function_definition",
        "if_statement",
        "match_statement",
        "while_statement",
        "with_statement",
    }
)
"""Nodes of which only the header, the part before the colon, counts as a statement."""

_IGNORED = frozenset({"comment", "line_continuation"})
_CLOSING = frozenset({")", "]", "}"})
_NUMBERS = frozenset({"integer", "float"})
_ONE_COMMA_MAKES_A_TUPLE = {"tuple": 3, "tuple_pattern": 3, "subscript": 4, "type_parameter": 3}
_BARE_LISTS = frozenset({"expression_list", "pattern_list"})
_BRACKETED_OR_NOT = frozenset({"with_clause", "import_from_statement"})
_TUPLE_NEEDS_NONE = frozenset(
    {
        "assignment",
        "augmented_assignment",
        "delete_statement",
        "expression_statement",
        "for_in_clause",
        "for_statement",
        "return_statement",
        "yield",
    }
)
_EXPRESSION_NEEDS_NONE = _TUPLE_NEEDS_NONE | {
    "argument_list",
    "as_pattern",
    "assert_statement",
    "default_parameter",
    "dictionary",
    "elif_clause",
    "if_clause",
    "if_statement",
    "interpolation",
    "keyword_argument",
    "lambda",
    "list",
    "match_statement",
    "pair",
    "parenthesized_expression",
    "raise_statement",
    "set",
    "subscript",
    "tuple",
    "type",
    "typed_default_parameter",
    "while_statement",
    "with_item",
}
_ATOMS = frozenset({"attribute", "call", "dictionary", "identifier", "list", "string", "subscript"})
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def canonical(text: str) -> str:
    """Canonical form of a statement given as text; of a compound one, of its header."""
    if len(text) > MAX_BYTES:
        return text.strip()
    return _canonical(text)


@lru_cache(maxsize=8192)
def _canonical(text: str) -> str:
    text = text.strip()
    root = parse_bytes(
        encode(text.removeprefix("el") if text.startswith("elif") else text)
    ).root_node
    first = next((child for child in root.named_children if child.type not in _IGNORED), None)
    if first is not None and first.type == "decorated_definition":
        first = first.child_by_field_name("definition")
    return canonical_node(first if first is not None and first.type in COMPOUND else root)


def canonical_node(node: Node) -> str:
    """Canonical form of a node of a tree; of a compound statement, of its header."""
    if node.end_byte - node.start_byte > MAX_BYTES and node.type not in COMPOUND:
        return decode(node.text or b"").strip()
    tokens: list[str] = []
    pending: list[Node | str] = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            tokens.append(current)
            continue
        kind = current.type
        if kind in _IGNORED:
            continue
        children = current.children
        if not children:
            tokens.append(_leaf(kind, decode(current.text or b"")))
        elif kind == "string":
            pending.extend(reversed(_string([current]) or children))
        elif kind == "concatenated_string":
            parts = [child for child in children if child.type == "string"]
            pending.extend(reversed(_string(parts) or parts))
        else:
            kept = [child for child in children if child.type not in _IGNORED]
            if kind in COMPOUND:
                kept = header(kept)
            pending.extend(reversed(_without_style(current, kind, kept)))
    return " ".join(tokens)


def header(children: list[Node]) -> list[Node]:
    """Of a compound statement's children, those before its colon."""
    for index, child in enumerate(children):
        if child.type in (":", "block"):
            return children[:index]
    return children


def _leaf(kind: str, text: str) -> str:
    if kind in _NUMBERS:
        return text.lower()
    if kind == "elif":
        return "if"
    return text


def _string(literals: list[Node]) -> list[Node | str] | None:
    """Adjacent literals as the one string they make: its text, and its interpolations as nodes.

    None where their prefixes do not allow one string, or the literal is broken.
    """
    if any(not literal.children or literal.has_error for literal in literals):
        return None
    prefixes = [_prefix(decode(literal.children[0].text or b"")) for literal in literals]
    if len(set(prefixes)) > 1 and not set(prefixes) <= {"", "f"}:
        return None
    prefix = max(prefixes)
    pieces: list[Node | str] = []
    text = f'{prefix}"'
    for literal, own in zip(literals, prefixes, strict=True):
        for child in literal.children[1:-1]:
            if child.type == "interpolation":
                pieces.extend((text, child))
                text = ""
                continue
            content = _content(decode(child.text or b""), raw="r" in own)
            text += content if own == prefix else content.replace("{", "{{").replace("}", "}}")
    return [*pieces, f'{text}"']


def _prefix(start: str) -> str:
    return "".join(sorted(start.rstrip("\"'").lower().replace("u", "")))


def _content(text: str, *, raw: bool) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if raw or "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: found[1] if found[1] in "\"'" else found[0], text)


def _without_style(node: Node, kind: str, children: list[Node]) -> list[Node]:
    """The children that count."""
    last = len(children) - 1
    if (
        last > 0
        and children[last].type in _CLOSING
        and children[last - 1].type == ","
        and len(children) != _ONE_COMMA_MAKES_A_TUPLE.get(kind, -1) + 1
    ):
        children = [*children[: last - 1], children[last]]
    elif kind in _BARE_LISTS and last > 1 and children[last].type == ",":
        children = children[:last]
    if _parentheses_are_style(node, kind, children):
        return [child for child in children if child.type not in "()"]
    if kind == "class_definition":
        return [child for child in children if child.named_child_count or child.child_count != 2]
    return children


def _parentheses_are_style(node: Node, kind: str, children: list[Node]) -> bool:
    if kind in _BRACKETED_OR_NOT:
        return True
    if kind not in ("parenthesized_expression", "tuple", "tuple_pattern") or len(children) < 3:
        return False
    parent = node.parent
    around = parent.type if parent is not None else ""
    if kind == "parenthesized_expression":
        return around in _EXPRESSION_NEEDS_NONE or children[1].type in _ATOMS
    return around in _TUPLE_NEEDS_NONE
