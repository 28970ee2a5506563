"""The Python grammar of tree-sitter, and text as its parser wants it."""

from __future__ import annotations

import re

import tree_sitter_python
from tree_sitter import Language, Parser, Tree

_LANGUAGE = Language(tree_sitter_python.language())
_LONE_RETURN = re.compile(rb"\r(?!\n)")


def parse_bytes(data: bytes, old: Tree | None = None) -> Tree:
    """Parse, reusing what `old` (already told of its edits) has in common with the new text."""
    parser = Parser(_LANGUAGE)
    return parser.parse(data) if old is None else parser.parse(data, old)


def encode(text: str) -> bytes:
    """UTF-8 in which every line break is one that the parser counts.

    A carriage return on its own ends a line for Python and for editors, but not for the parser: it
    becomes a line feed, which takes the same place. Half a surrogate pair is passed through.
    """
    data = text.encode("utf-8", "surrogatepass")
    return _LONE_RETURN.sub(b"\n", data) if b"\r" in data else data


def decode(data: bytes) -> str:
    """Text of bytes that `encode` made."""
    return data.decode("utf-8", "surrogatepass")
