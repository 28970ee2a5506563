"""Correct an in-batch softmax by how often each item is in a batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import arguments, callee_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import insert
from gradtracer_server.fixes.look_up_flow import LookedUp, looked_up
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.table_uses import known_files, uses
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "log-q-correction"
TITLE = "Correct the in-batch softmax by log Q"

_LOSS = re.compile(rb"\bcross_entropy\s*\(|\bCrossEntropyLoss\s*\(")
_LOSS_CLASS = re.compile(rb"\bCrossEntropyLoss\s*\(")
_ASSIGNED = re.compile(rb"([\w.]+)\s*=\s*[\w.]*\Z")
_CORRECTED = "log_q("
_CLOSER = frozenset(
    {"attribute", "binary_operator", "call", "identifier", "parenthesized_expression", "subscript"}
)
"""What may stand before a minus as it is."""


def plan(context: FixContext) -> Plan:
    """Subtract `gradtracer.log_q` of the batch's items from the logits."""
    path, source, logits = _target(context)
    look_ups = [use for use in uses(context) if use.kind == "look-up"]
    items = _items(logits)
    found = None if items is None else looked_up(items, look_ups)
    line = logits.start_point.row + 1
    if found is None:
        raise NotApplicable(
            f"which items the columns of the logits on line {line} are cannot be read from the "
            "source; subtract gradtracer.log_q(table, item_ids) from them"
        )
    return Plan(
        f"Subtract log Q of {text_of(found.ids)} from the logits on line {line}",
        {path: (source, _corrected(source, logits, found))},
        rewrites=True,
    )


def locate(context: FixContext) -> None:
    """Find the logits, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[Path, SourceText, Node]:
    """The logits of the only in-batch softmax in the files that the run named."""
    found = [
        (path, source, logits)
        for path, source in known_files(context).items()
        for logits in _in_batch(source)
    ]
    if not found:
        raise NotApplicable(
            "no in-batch softmax was found: expected cross_entropy(logits, torch.arange(...))"
        )
    if len(found) > 1:
        lines = ", ".join(str(logits.start_point.row + 1) for _, _, logits in found)
        raise NotApplicable(f"several in-batch softmaxes were found, on lines {lines}")
    logits = found[0][2]
    value = bound_to(text_of(logits), logits) if logits.type == "identifier" else logits
    if _CORRECTED in text_of(logits) + text_of(value):
        line = logits.start_point.row + 1
        raise AlreadyApplied(f"log Q is subtracted from the logits on line {line} already")
    return found[0]


_in_batch_of: WeakKeyDictionary[SourceText, list[Node]] = WeakKeyDictionary()


def _in_batch(source: SourceText) -> list[Node]:
    """The logits of losses whose labels are the diagonal: the same for every table of a text."""
    known = _in_batch_of.get(source)
    if known is None:
        known = _in_batch_of[source] = list(_find_in_batch(source))
    return known


def _find_in_batch(source: SourceText) -> Iterator[Node]:
    if not _LOSS.search(source.data):
        return
    named_losses = _named_losses(source)
    pattern = rb"\bcross_entropy\s*\(" + b"".join(
        rb"|(?<![\w.])" + re.escape(name.encode()) + rb"\s*\(" for name in named_losses
    )
    for match in re.finditer(pattern, source.data):
        statement = source.statement_at(source.position_of(match.start()))
        for call in [] if statement is None else source.call_nodes(statement):
            function = call.child_by_field_name("function")
            name = text_of(function)
            if callee_name(call) != "cross_entropy" and name not in named_losses:
                continue
            if not call.start_byte <= match.start() < call.end_byte:
                continue
            passed = arguments(call)
            logits = None if passed is None else passed.value(0, "input")
            labels = None if passed is None else passed.value(1, "target")
            if logits is not None and labels is not None and _is_diagonal(labels):
                yield logits


def _named_losses(source: SourceText) -> list[str]:
    """The names that a file gives to `nn.CrossEntropyLoss(...)`."""
    found: dict[str, None] = {}
    # To look for all that is assigned takes a long file longer than everything else in a renewal.
    for match in _LOSS_CLASS.finditer(source.data):
        statement = source.statement_at(source.position_of(match.start()))
        start = 0 if statement is None else statement.span.start
        assigned = _ASSIGNED.search(source.data[start : match.start()])
        if assigned is not None:
            found[assigned[1].decode("utf-8", "replace")] = None
    return list(found)


def _is_diagonal(labels: Node) -> bool:
    value = bound_to(text_of(labels), labels) if labels.type == "identifier" else labels
    return value is not None and value.type == "call" and callee_name(value) == "arange"


def _items(logits: Node) -> Node | None:
    """`v` of `u @ v.T`, whatever scales it."""
    node: Node | None = logits
    for _ in range(8):
        if node is None:
            return None
        if node.type == "identifier":
            node = bound_to(text_of(node), node)
        elif node.type == "parenthesized_expression":
            node = node.named_children[0] if node.named_child_count == 1 else None
        elif node.type == "binary_operator":
            operator = text_of(node.child_by_field_name("operator"))
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if operator == "@":
                return _transposed(right)
            node = left if operator in "/*" else None
        elif node.type == "call" and callee_name(node) in ("matmul", "mm"):
            passed = arguments(node)
            values = [] if passed is None else passed.positional
            return _transposed(values[-1]) if values else None
        else:
            return None
    return None


def _transposed(node: Node | None) -> Node | None:
    if node is not None and node.type == "call":
        node = node.child_by_field_name("function")
        if node is None or text_of(node.child_by_field_name("attribute")) not in ("t", "transpose"):
            return None
        return node.child_by_field_name("object")
    if node is not None and node.type == "attribute":
        turned = text_of(node.child_by_field_name("attribute")) in ("T", "mT")
        return node.child_by_field_name("object") if turned else None
    return None


def _corrected(source: SourceText, logits: Node, found: LookedUp) -> list[TextEdit]:
    log_q = named(source, "gradtracer.log_q", logits)
    less = f" - {log_q.text}({found.table}, {text_of(found.ids)})"
    if logits.type in _CLOSER:
        return [*log_q.edits, insert(source, logits.end_byte, less)]
    whole = TextEdit(source.range_of(logits), f"({text_of(logits)}){less}")
    return [*log_q.edits, whole]
