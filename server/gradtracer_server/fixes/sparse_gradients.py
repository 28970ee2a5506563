"""Give a table sparse gradients, and the optimizer that moves only the rows of the batch.

Under the Adam family the table gets a `SparseAdam` of its own, which steps wherever the other one
does; SGD and Adagrad take sparse gradients themselves, in a group without momentum and decay.
"""

from __future__ import annotations

import re
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import callee_name, original_name, text_of
from gradtracer_server.fixes.insertion import new_argument
from gradtracer_server.fixes.optimizer import Construction, construction
from gradtracer_server.fixes.parameter_groups import parameters_argument, split
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.sparse_adam import ADAM_FAMILY, own_optimizer
from gradtracer_server.fixes.table_uses import known_files, uses
from gradtracer_server.fixes.tables import Table, table
from gradtracer_server.fixes.watched_model import check_known
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "sparse-gradients"
TITLE = "Move only the rows of the batch"

_SPARSE_INDEX = {"Embedding": 6, "EmbeddingBag": 6}
_IN_GROUP = {"SGD": ("momentum", "weight_decay", "nesterov"), "Adagrad": ("weight_decay",)}
"""What those that take sparse gradients must not do to them."""
_Changes = dict[Path, tuple[SourceText, list[TextEdit]]]


def plan(context: FixContext) -> Plan:
    """Edit the table's call and the optimizer's, and the steps where there are then two."""
    found = _target(context)
    path = f"{context.diagnosis.site.attribute}.weight"
    check_known(context, path)
    _check_gradient(context)
    built = construction(context)
    name = _class_of(built, context)
    if name in ADAM_FAMILY:
        edits, title = own_optimizer(built, path, context)
    elif name in _IN_GROUP:
        setting = _plain(built, name)
        edits = [split(built, parameters_argument(built), path, setting, context)]
        title = f"in a group without momentum and decay on line {built.line}"
    else:
        raise NotApplicable(f"{name or 'the optimizer'} has no form for sparse gradients")
    changes: _Changes = {built.path: (built.source, edits)}
    own = _sparse(found)
    if found.path == built.path:
        edits.extend(own)
    else:
        changes[found.path] = (found.source, own)
    return Plan(f"Set sparse=True on line {found.line}, {title}", changes, rewrites=True)


def locate(context: FixContext) -> None:
    """Find whether the table is sparse already. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> Table:
    found = table(context, changed=True)
    if found.passed is None:
        raise NotApplicable(f"what the table on line {found.line} is built with cannot be read")
    value = found.passed.value(_index(found), "sparse")
    if value is not None and value.type == "true":
        raise AlreadyApplied(f"sparse is already True on line {found.line}")
    if value is not None and value.type != "false":
        raise NotApplicable(f"sparse is given as {text_of(value)} on line {found.line}")
    if value is None and (found.passed.unpacked or found.passed.unpacked_keywords):
        raise NotApplicable(f"the call on line {found.line} unpacks its arguments")
    mode = found.passed.value(5, "mode") if _class(found) == "EmbeddingBag" else None
    if mode is not None and text_of(mode).strip("\"'") == "max":
        raise NotApplicable("an EmbeddingBag of mode 'max' has no sparse gradients")
    return found


def _class(found: Table) -> str:
    name = callee_name(found.call)
    return original_name(found.source, name)


def _index(found: Table) -> int | None:
    return _SPARSE_INDEX.get(_class(found))


def _sparse(found: Table) -> list[TextEdit]:
    passed = found.passed
    value = None if passed is None else passed.value(_index(found), "sparse")
    if value is not None:
        return [TextEdit(found.source.range_of(value), "True")]
    return [] if passed is None else new_argument(found.source, passed, "sparse=True")


def _check_gradient(context: FixContext) -> None:
    """A weight that is also used as a whole has a dense gradient, whatever `sparse` says."""
    for use in uses(context):
        if use.kind == "whole":
            raise NotApplicable(
                f"the whole weight is used on {use.where}, which makes its gradient dense"
            )
        if use.kind == "handed on":
            raise NotApplicable(f"the table is handed on on {use.where}, to an unknown use")
    for path, source in known_files(context).items():
        if found := re.search(r"clip_grad_(norm|value)_", source.text):
            line = source.position_at(found.start()).line + 1
            raise NotApplicable(
                f"{found[0]} on line {line} of {path.name} cannot take sparse gradients"
            )


def _class_of(built: Construction, context: FixContext) -> str:
    """Name of the optimizer's class: what the run had, else what the text says."""
    told = context.offer.parameters.get("optimizer") if context.offer is not None else None
    return told if isinstance(told, str) else original_name(built.source, callee_name(built.call))


def _plain(built: Construction, name: str) -> str:
    """What a group says that lets only the batch move the table, with steps as large as before."""
    passed = built.passed
    if passed.unpacked or passed.unpacked_keywords or "fused" in passed.keywords:
        raise NotApplicable(f"the call on line {built.line} may set what sparse gradients bar")
    settings = [key for key in _IN_GROUP[name] if key in passed.keywords]
    group = [f'"{key}": {"False" if key == "nesterov" else "0"}' for key in settings]
    momentum = passed.value(None, "momentum")
    lr = passed.value(1, "lr")
    if momentum is not None:
        if lr is None:
            raise NotApplicable(f"lr is not passed on line {built.line}")
        # Momentum m makes steps 1 / (1 - m) as long in the end: Polyak (1964).
        group.insert(0, f'"lr": {_operand(lr)} / (1 - {_operand(momentum)})')
    if not group:
        raise NotApplicable(f"{name} on line {built.line} has neither momentum nor decay")
    return ", ".join(group)


def _operand(node: Node) -> str:
    plain = ("attribute", "call", "float", "identifier", "integer", "parenthesized_expression")
    return text_of(node) if node.type in plain else f"({text_of(node)})"
