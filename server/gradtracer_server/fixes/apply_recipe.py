"""Compress the trained model by its recipe: before it is saved, else after it was trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import after, before, statement_around
from gradtracer_server.fixes.literals import scope_of
from gradtracer_server.fixes.optimizer import watch_call
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.index import SourceText

NAME = "apply-recipe"
TITLE = "Compress the model by its recipe"

_LOOPS = ("for_statement", "while_statement")
_SAVES = frozenset({"save", "save_file", "save_model", "save_pretrained"})
_NAME = re.compile(r"(?:self\.)?[A-Za-z_]\w*")


def plan(context: FixContext) -> Plan:
    """Put `model = gradtracer.compress(model, recipe)` where the model is done."""
    path, source, call, model = _target(context)
    recipe = _recipe(context)
    compress = named(source, "gradtracer.compress", call)
    line = f'{model} = {compress.text}({model}, "{recipe}")'
    save = _last_save(call, model)
    if save is not None:
        edit = before(source, save, [line])
        where = f"before it is saved on line {save.start_point.row + 1}"
    else:
        loop = _last_loop(call)
        edit = after(source, loop, [line])
        where = f"after the loop on line {loop.start_point.row + 1}"
    return Plan(f"Compress {model} by {recipe} {where}", {path: (source, [*compress.edits, edit])})


def locate(context: FixContext) -> None:
    """Find whether the model is compressed already. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[Path, SourceText, Node, str]:
    """The recorded call of watch, its file, and how that names the model."""
    (path, source, _), call = watch_call(context)
    passed = arguments(call)
    value = None if passed is None else passed.value(0, "model")
    if value is None or callee_name(call) == "EmbeddingTracker":
        raise NotApplicable("the whole model has no name where one table of it is tracked")
    model = text_of(value)
    if not _NAME.fullmatch(model):
        line = call.start_point.row + 1
        raise NotApplicable(f"the model on line {line} has no name: give it one first")
    for other in _after(call, "call"):
        if callee_name(other) == "compress" and _mentions(other, model):
            line = other.start_point.row + 1
            raise AlreadyApplied(f"{model} is compressed on line {line} already")
    return path, source, call, model


def _recipe(context: FixContext) -> str:
    """The recipe's path as the script is to name it."""
    given = context.offer.parameters.get("path") if context.offer is not None else None
    if not isinstance(given, str) or not given or re.search(r'["\\\n\r]', given):
        raise NotApplicable(
            f"expected the file of the recipe, got {given!r}; write it by "
            'RecipeGenerator.export_json("gradtracer_recipe.json")'
        )
    parts = PurePosixPath(given)
    if parts.is_absolute() or ".." in parts.parts:
        raise NotApplicable(f"expected a recipe inside the project, got {given}")
    return given


def _after(call: Node, *kinds: str) -> Iterator[Node]:
    """The nodes of some types after a call in its function, or in the module's own statements."""
    pending = [scope_of(call) or call]
    while pending:
        node = pending.pop()
        if node.type in kinds and node.start_byte > call.start_byte:
            yield node
        inner = (child for child in node.named_children if not child.type.endswith("_definition"))
        pending.extend(reversed(list(inner)))


def _in_loop(node: Node, call: Node) -> bool:
    """Whether a node is repeated where the call is not."""
    around = ancestor(node, *_LOOPS)
    return around is not None and around.start_byte > call.start_byte


def _last_save(call: Node, model: str) -> Node | None:
    """The last statement that writes the model once."""
    saves = [
        each
        for each in _after(call, "call")
        if callee_name(each) in _SAVES and _mentions(each, model) and not _in_loop(each, call)
    ]
    return statement_around(saves[-1]) if saves else None


def _last_loop(call: Node) -> Node:
    """The last loop after a call: the training."""
    loops = [each for each in _after(call, *_LOOPS) if not _in_loop(each, call)]
    if loops:
        return loops[-1]
    raise NotApplicable(
        f"after the call of watch on line {call.start_point.row + 1} neither a loop nor a save of "
        "the model is found; add model = gradtracer.compress(model, recipe) where training is done"
    )


def _mentions(call: Node, model: str) -> bool:
    """Whether a call names the model, whole or as what something is asked of."""
    return re.search(rf"(?<![\w.]){re.escape(model)}(?!\w)", text_of(call)) is not None
