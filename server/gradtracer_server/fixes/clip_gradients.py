"""Bound the norm of the gradients right before each step."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import before, new_argument
from gradtracer_server.fixes.library_settings import library_settings
from gradtracer_server.fixes.literals import follow, number, scope_of, written
from gradtracer_server.fixes.optimizer import construction
from gradtracer_server.fixes.origins import origin
from gradtracer_server.fixes.parameter_groups import whole_model
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.table_uses import known_files
from gradtracer_server.fixes.tables import is_table
from gradtracer_server.fixes.training_step import Step, TakenByLibrary, training_step
from gradtracer_server.source.edits import TextEdit

NAME = "clip-gradients"
TITLE = "Clip the norm of the gradients"

_CLIP = "clip_grad_norm_"
_SETTINGS = {"Trainer": "gradient_clip_val", "TrainingArguments": "max_grad_norm"}
"""What a library's loop is told the norm by."""
_MAX_NORM_INDEX = 1


def plan(context: FixContext) -> Plan:
    """Clip before the recorded step, or tell the library whose loop it is."""
    norm = _offered(context)
    try:
        step = training_step(context)
    except TakenByLibrary as taken:
        return _tell_library(taken, norm, context)
    source, line = step.source, step.line
    clips = _clips(step)
    if clips:
        return _lowered(clips, step, norm, context)
    _check_dense(context)
    accelerator = _accelerator(step)
    parameters = _parameters(step, context)
    if accelerator:
        call = f"{accelerator}.{_CLIP}({parameters}, {written(norm)})"
        return Plan(
            f"Clip the gradient norm to {written(norm)} before the step on line {line}",
            {step.path: (source, [before(source, step.statement, [call])])},
        )
    clip = named(source, f"torch.nn.utils.{_CLIP}", step.call)
    new = [f"{clip.text}({parameters}, {written(norm)})"]
    if step.scaler and not _unscales(step):
        new.insert(0, f"{step.scaler}.unscale_({step.optimizer})")
    edits = [*clip.edits, before(source, step.statement, new)]
    title = f"Clip the gradient norm to {written(norm)} before the step on line {line}"
    return Plan(title, {step.path: (source, edits)}, rewrites=True)


def locate(context: FixContext) -> None:
    """Find whether gradients are clipped already. Raises as `plan` does."""
    norm = _offered(context)
    try:
        step = training_step(context)
    except TakenByLibrary as taken:
        _tell_library(taken, norm, context)
        return
    for call in _clips(step):
        _max_norm(call, step, norm, context)


def _offered(context: FixContext) -> float:
    norm = context.offer.parameters.get("max_norm") if context.offer is not None else None
    if not isinstance(norm, int | float) or isinstance(norm, bool) or not 0 < norm < math.inf:
        raise NotApplicable(f"expected the max_norm to try, above 0, got {norm!r}")
    return norm


def _check_dense(context: FixContext) -> None:
    """PyTorch cannot clip the norm of sparse gradients."""
    for path, source in known_files(context).items():
        for found in re.finditer(rb"\bsparse\s*=\s*True\b", source.data):
            node = source.root.descendant_for_byte_range(*found.span())
            call = None if node is None else ancestor(node, "call")
            if call is not None and is_table(call, source):
                line = call.start_point.row + 1
                raise NotApplicable(
                    f"the gradients of the table on line {line} of {path.name} are sparse, which "
                    f"{_CLIP} cannot take"
                )


def _around(step: Step) -> Node:
    """The function of the step, else the module."""
    return scope_of(step.call) or step.source.root


def _clips(step: Step) -> list[Node]:
    """The calls in the step's scope that clip by norm."""
    around, source = _around(step), step.source
    found: dict[int, Node] = {}
    for match in re.finditer(_CLIP.encode(), source.data[around.start_byte : around.end_byte]):
        at = around.start_byte + match.start()
        statement = source.statement_at(source.position_of(at))
        for call in [] if statement is None else source.call_nodes(statement):
            if callee_name(call) == _CLIP:
                found[call.start_byte] = call
    return list(found.values())


def _max_norm(call: Node, step: Step, norm: float, context: FixContext) -> TextEdit:
    passed = arguments(call)
    value = None if passed is None else passed.value(_MAX_NORM_INDEX, "max_norm")
    if value is None:
        raise NotApplicable(f"the max_norm on line {call.start_point.row + 1} cannot be read")
    place = replace(step.place(context), number=number, wanted="max_norm")
    literal = follow(value, place)
    if literal.value <= norm:
        raise _stands(literal.value, context)
    if literal.path != step.path:
        raise NotApplicable(f"max_norm is set in {literal.path.name}; lower it there")
    return TextEdit(literal.source.range_of(literal.node), written(norm))


def _lowered(clips: list[Node], step: Step, norm: float, context: FixContext) -> Plan:
    edits = [_max_norm(call, step, norm, context) for call in clips]
    title = f"Lower max_norm on line {clips[0].start_point.row + 1} to {written(norm)}"
    return Plan(title, {step.path: (step.source, edits)})


def _stands(norm: float, context: FixContext) -> NotApplicable:
    """Gradients are clipped so already: since the run, where that met a larger norm."""
    given = context.offer.parameters if context.offer is not None else {}
    met = given.get("measured_norm")
    edited = isinstance(met, int | float) and met > norm
    kind = AlreadyApplied if edited else NotApplicable
    return kind(f"gradients are clipped to a norm of {norm:g} already")


def _parameters(step: Step, context: FixContext) -> str:
    """What names the parameters at the step: the model's, else those that the optimizer holds."""
    held = f'[p for group in {step.optimizer}.param_groups for p in group["params"]]'
    try:
        built = construction(context)
    except NotApplicable:
        return held
    value = built.passed.value(0, "params")
    owner = None if value is None else whole_model(value)
    if owner is None:
        return held
    there = origin(text_of(owner), owner, built.place(context))
    here = origin(text_of(owner), step.call, step.place(context))
    return f"{text_of(owner)}.parameters()" if there is not None and there == here else held


def _unscales(step: Step) -> bool:
    around = _around(step)
    body = text_of(around)
    return re.search(rf"{re.escape(step.scaler)}\s*\.\s*unscale_\s*\(", body) is not None


def _accelerator(step: Step) -> str:
    """What names Hugging Face's accelerator, which has a clipping of its own."""
    found = re.search(r"(?<![\w.])([\w.]*accelerator)\s*\.\s*backward\s*\(", text_of(_around(step)))
    return "" if found is None else found[1]


def _tell_library(taken: TakenByLibrary, norm: float, context: FixContext) -> Plan:
    """Set the norm where the library's trainer is built."""
    source, settings = taken.source, library_settings(taken)
    name, passed, line = settings.name, settings.passed, settings.line
    keyword = settings.keyword(_SETTINGS)
    if keyword is None:
        raise NotApplicable(f"{taken}; tell it to clip gradients there")
    value = passed.value(None, keyword)
    title = f"Set {keyword} to {written(norm)} in the call of {name} on line {line}"
    if value is None:
        settings.check_plain()
        edits = new_argument(source, passed, f"{keyword}={written(norm)}")
        return Plan(title, {taken.path: (source, edits)})
    if value.type == "none":
        edit = TextEdit(source.range_of(value), written(norm))
        return Plan(title, {taken.path: (source, [edit])})
    place = replace(settings.place(context), number=number, wanted=keyword)
    literal = follow(value, place)
    if 0 < literal.value <= norm:
        raise _stands(literal.value, context)
    edit = TextEdit(literal.source.range_of(literal.node), written(norm))
    return Plan(title, {literal.path: (literal.source, [edit])})
