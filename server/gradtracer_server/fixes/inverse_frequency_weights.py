"""Draw the examples of rare items more often: a weighted sampler at the DataLoader."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import (
    Arguments,
    ancestor,
    arguments,
    callee_name,
    original_name,
    text_of,
)
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import before, statement_around
from gradtracer_server.fixes.literals import scope_of, written
from gradtracer_server.fixes.look_up_flow import looked_up
from gradtracer_server.fixes.names import bindings
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.table_uses import Use, known_files, uses
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "inverse-frequency-weights"
TITLE = "Draw examples of rare items more often"

_SAMPLER_PLACE = 3


@dataclass(frozen=True)
class _Loader:
    """A DataLoader in the source."""

    path: Path
    source: SourceText
    call: Node
    passed: Arguments

    @property
    def line(self) -> int:
        return self.call.start_point.row + 1


def plan(context: FixContext) -> Plan:
    """Weigh each example by its item's frequency to a negative power."""
    power, loader = _target(context)
    source = loader.source
    shuffle = loader.passed.keywords.get("shuffle")
    value = None if shuffle is None else shuffle.child_by_field_name("value")
    if shuffle is None or value is None or value.type != "true":
        raise NotApplicable(f"the DataLoader on line {loader.line} is not given shuffle=True")
    column, items = _column(loader, context)
    statement = statement_around(loader.call)
    name = f"{column}_weights"
    scope = scope_of(loader.call)
    if not column.isidentifier() or (scope is not None and bindings(scope, name)):
        raise NotApplicable(f"{name} is no new name on line {loader.line}")
    torch = named(source, "torch.bincount", loader.call)
    sampler = named(source, "torch.utils.data.WeightedRandomSampler", loader.call)
    weights = f"{name} = {torch.text}({items})[{items}].double().pow(-{written(power)})"
    edits = [
        *{edit.new_text: edit for edit in (*torch.edits, *sampler.edits)}.values(),
        before(source, statement, [weights]),
        TextEdit(source.range_of(shuffle), f"sampler={sampler.text}({name}, len({name}))"),
    ]
    how = f"by the frequency of {column} to the power -{written(power)}"
    title = f"Draw examples {how} in the DataLoader on line {loader.line}"
    return Plan(title, {loader.path: (source, edits)}, rewrites=True)


def locate(context: FixContext) -> None:
    """Find the DataLoader, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[float, _Loader]:
    power = context.offer.parameters.get("power") if context.offer is not None else None
    if not isinstance(power, int | float) or isinstance(power, bool) or not 0 < power <= 1:
        raise NotApplicable(f"expected the power to weigh by, above 0 and at most 1, got {power!r}")
    found = [
        loader for path, source in known_files(context).items() for loader in _loaders(path, source)
    ]
    weighted = [each for each in found if "WeightedRandomSampler" in text_of(each.call)]
    if weighted:
        raise AlreadyApplied(f"examples are weighted on line {weighted[0].line} already")
    training = [each for each in found if "shuffle" in each.passed.keywords] or found
    if len(training) != 1:
        raise NotApplicable(f"expected one DataLoader that shuffles, found {len(training)}")
    (loader,) = training
    if loader.passed.value(_SAMPLER_PLACE, "sampler") or "batch_sampler" in loader.passed.keywords:
        raise NotApplicable(f"the DataLoader on line {loader.line} has a sampler of its own")
    return power, loader


def _loaders(path: Path, source: SourceText) -> list[_Loader]:
    found: list[_Loader] = []
    if b"DataLoader" not in source.data:
        return found
    for match in re.finditer(rb"\bDataLoader\s*\(", source.data):
        statement = source.statement_at(source.position_of(match.start()))
        for call in [] if statement is None else source.call_nodes(statement):
            passed = arguments(call)
            loads = original_name(source, callee_name(call)) == "DataLoader"
            if loads and passed is not None and all(call != each.call for each in found):
                found.append(_Loader(path, source, call, passed))
    return found


def _column(loader: _Loader, context: FixContext) -> tuple[str, str]:
    """The column of a TensorDataset that is looked up: its name in the loop, and all of it."""
    columns = _columns(loader)
    look_ups = [use for use in uses(context) if use.kind == "look-up"]
    for loop in _loops(loader):
        found = _looked_up_in(loop, look_ups)
        if found is not None and found[0] < len(columns):
            return found[1], text_of(columns[found[0]])
    raise NotApplicable(
        f"which column of the data on line {loader.line} holds the items cannot be read from the "
        "source"
    )


def _columns(loader: _Loader) -> list[Node]:
    value = loader.passed.value(0, "dataset")
    if value is not None and value.type == "identifier":
        value = bound_to(text_of(value), value)
    passed = None if value is None or value.type != "call" else arguments(value)
    if value is None or passed is None or callee_name(value) != "TensorDataset" or passed.unpacked:
        raise NotApplicable(
            f"the DataLoader on line {loader.line} is not given a TensorDataset, whose columns can "
            "be read from the source"
        )
    return passed.positional


def _loops(loader: _Loader) -> list[Node]:
    """The loops over the loader, by its name or over the call itself."""
    assigned = ancestor(loader.call, "assignment")
    name = "" if assigned is None else text_of(assigned.child_by_field_name("left"))
    scope = scope_of(loader.call) or loader.source.root
    pending, found = [scope], list[Node]()
    while pending:
        node = pending.pop()
        over = node.child_by_field_name("right") if node.type == "for_statement" else None
        if over is not None and name and re.search(rf"\b{re.escape(name)}\b", text_of(over)):
            found.append(node)
        pending.extend(node.named_children)
    return found


def _looked_up_in(loop: Node, look_ups: list[Use]) -> tuple[int, str] | None:
    """The name in the loop's target that is looked up in its body, with its place."""
    target, over = loop.child_by_field_name("left"), loop.child_by_field_name("right")
    body = loop.child_by_field_name("body")
    if target is not None and over is not None and callee_name(over) == "enumerate":
        inner = [c for c in target.named_children if c.type in ("tuple_pattern", "pattern_list")]
        target = inner[0] if inner else None
    if target is None or body is None:
        return None
    names = [text_of(child) for child in target.named_children]
    pending = [body]
    while pending:
        node = pending.pop()
        found = looked_up(node, look_ups) if node.type == "call" else None
        if found is not None and text_of(found.ids) in names:
            return names.index(text_of(found.ids)), text_of(found.ids)
        pending.extend(node.named_children)
    return None
