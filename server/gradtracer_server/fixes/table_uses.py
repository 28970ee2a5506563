"""Where a table is used: looked up, read as a whole, or handed on.

Looked for in the files that the run's recorded frames name, by the name of the attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import arguments, callee_name, text_of
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.source.index import SourceText

UseKind = Literal["look-up", "whole", "whole without gradient", "handed on"]
_OWN = frozenset({"embedding_dim", "num_embeddings", "padding_idx", "sparse"})
_NO_FUNCTION = frozenset({"data", "device", "dtype", "requires_grad", "shape", "size"})
"""What is read from a weight or written to it, with no gradient through it."""
_NO_GRAD = re.compile(r"\b(no_grad|inference_mode)\b")
_WATCHING = frozenset({"EmbeddingTracker", "watch"})


@dataclass(frozen=True)
class Use:
    """One place that uses a table."""

    kind: UseKind
    """How; initial values and plain numbers of it are no use."""
    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""
    node: Node
    """The call of a look-up; else the attribute."""

    @property
    def where(self) -> str:
        """Its place, for people."""
        return f"line {self.node.start_point.row + 1} of {self.path.name}"


def known_files(context: FixContext) -> dict[Path, SourceText]:
    """The files of the workspace that the diagnosis' frames lie in."""
    diagnosis = context.diagnosis
    return {
        path: source
        for site in (diagnosis.site, *diagnosis.related.values())
        for path, source, _ in context.frames(site)
    }


def attribute_name(context: FixContext) -> str:
    """The attribute that holds the table. Raises `NotApplicable` for one of a container's."""
    name = context.diagnosis.site.attribute.rpartition(".")[2]
    if not name.isidentifier():
        raise NotApplicable("the table is one of a container's, which are used by their place")
    return name


def uses(context: FixContext) -> list[Use]:
    """The uses of the diagnosis' table."""
    name = attribute_name(context)
    files = known_files(context)
    found: list[Use] = []
    for path, source in files.items():
        for node in _mentions(source, name):
            kind, place = _kind(node, files)
            if kind is not None:
                found.append(Use(kind, path, source, place))
    return found


def _mentions(source: SourceText, name: str) -> Iterator[Node]:
    """The attributes of that name."""
    for match in re.finditer(rb"\b" + name.encode() + rb"\b", source.data):
        node = source.root.descendant_for_byte_range(*match.span())
        around = None if node is None else node.parent
        if node is None or around is None or around.type != "attribute":
            continue
        if around.child_by_field_name("attribute") == node:
            yield around


def _kind(node: Node, files: dict[Path, SourceText]) -> tuple[UseKind | None, Node]:
    around = node.parent
    if around is None:
        return None, node
    if around.type == "call" and around.child_by_field_name("function") == node:
        return "look-up", around
    if around.type == "assignment" and around.child_by_field_name("left") == node:
        return None, node
    call = around.parent if around.type == "argument_list" else None
    if call is not None and callee_name(call) in _WATCHING:
        return None, node
    if around.type != "attribute":
        return "handed on", node
    attribute = text_of(around.child_by_field_name("attribute"))
    if attribute in _OWN:
        return None, node
    if attribute != "weight":
        # A method of the module: `.to(device)`, `.parameters()`.
        return (None if _is_called(around) else "handed on"), node
    if _is_initial(around):
        return None, node
    return ("whole without gradient" if _without_gradient(around, files) else "whole"), node


def _is_called(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "call"


def _is_initial(weight: Node) -> bool:
    """Whether a weight is being given its values: `nn.init.normal_(w)`, `w.data.fill_(0)`."""
    around = weight.parent
    if around is None:
        return False
    if around.type == "attribute":
        return text_of(around.child_by_field_name("attribute")) in _NO_FUNCTION
    if around.type == "argument_list" and around.parent is not None:
        called = text_of(around.parent.child_by_field_name("function"))
        return called.rpartition(".")[2].endswith("_")
    # In a list of parameters, or compared with one, it is named and not computed with.
    return around.type in ("list", "comparison_operator")


def _without_gradient(node: Node, files: dict[Path, SourceText], depth: int = 2) -> bool:
    """Whether a node is evaluated under `no_grad`, itself or wherever its function is called."""
    around = node.parent
    inner = node
    while around is not None:
        if around.type == "with_statement" and _NO_GRAD.search(_head(around)):
            return True
        if around.type == "function_definition" and inner.type == "block":
            decorated = around.parent
            if decorated is not None and decorated.type == "decorated_definition":
                marks = [c for c in decorated.named_children if c.type == "decorator"]
                if any(_NO_GRAD.search(text_of(mark)) for mark in marks):
                    return True
            name = text_of(around.child_by_field_name("name"))
            called = list(_calls_of(name, files)) if depth else []
            return bool(called) and all(
                _without_gradient(call, files, depth - 1) for call in called
            )
        inner, around = around, around.parent
    return False


def _calls_of(name: str, files: dict[Path, SourceText]) -> Iterator[Node]:
    """The places that call a function or method by its name, or name it otherwise."""
    for source in files.values():
        for match in re.finditer(rb"\b" + name.encode() + rb"\b", source.data):
            node = source.root.descendant_for_byte_range(*match.span())
            if node is None or node.type != "identifier":
                continue
            around = node.parent
            if around is not None and around.type != "function_definition":
                yield node


def _head(statement: Node) -> str:
    body = statement.child_by_field_name("body")
    end = statement.end_byte if body is None else body.start_byte
    return text_of(statement)[: end - statement.start_byte]


def ids_of(call: Node) -> Node | None:
    """What a look-up looks up."""
    passed = arguments(call)
    return None if passed is None else passed.value(0, "input")
