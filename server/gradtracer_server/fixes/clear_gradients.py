"""Clear the gradients right after each step."""

from __future__ import annotations

import re

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import text_of
from gradtracer_server.fixes.insertion import after
from gradtracer_server.fixes.literals import scope_of
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.training_step import Step, training_step

NAME = "clear-gradients"
TITLE = "Clear the gradients after each step"

_CLEARS = re.compile(r"(?<![\w.])[\w.]+\s*\.\s*zero_grad\s*\(")


def plan(context: FixContext) -> Plan:
    """Add `optimizer.zero_grad()` after the statement that steps."""
    step = _uncleared(context)
    edit = after(step.source, step.statement, [f"{step.optimizer}.zero_grad()"])
    title = f"Call {step.optimizer}.zero_grad() after the step on line {step.line}"
    return Plan(title, {step.path: (step.source, [edit])})


def locate(context: FixContext) -> None:
    """Find whether they are cleared now. Raises as `plan` does."""
    _uncleared(context)


def _uncleared(context: FixContext) -> Step:
    step = training_step(context)
    block = step.statement.parent
    for statement in block.named_children if block is not None else []:
        if statement.type == "expression_statement" and _CLEARS.search(text_of(statement)):
            line = statement.start_point.row + 1
            raise AlreadyApplied(f"line {line} clears them beside the step on line {step.line}")
    scope = scope_of(step.call)
    around = _top_level(step.statement) if scope is None or scope.type == "module" else scope
    found = _CLEARS.search(text_of(around))
    if found is not None:
        raise NotApplicable(
            f"{found[0]}) stands around the step on line {step.line}, where not every step comes by"
        )
    return step


def _top_level(statement: Node) -> Node:
    """The loop of a script, without the functions beside it."""
    while (parent := statement.parent) is not None and parent.type != "module":
        statement = parent
    return statement
