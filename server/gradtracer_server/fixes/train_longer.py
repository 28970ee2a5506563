"""Train more epochs: the number that the loop around the training's step counts to.

Where a library has the loop, what that was told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_schemas import SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import arguments, callee_name, calls_in, text_of
from gradtracer_server.fixes.library_settings import LibrarySettings, library_settings
from gradtracer_server.fixes.literals import Literal, Place, follow, integer, number
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.training_step import TakenByLibrary, training_step
from gradtracer_server.source.edits import TextEdit

NAME = "train-longer"
TITLE = "Train more epochs"

_SCOPES = ("function_definition", "lambda", "module")
_RANGES = ("range", "trange")
_SETTINGS = {"Trainer": "max_epochs", "TrainingArguments": "num_train_epochs"}
"""What a library's loop is told the epochs by."""


@dataclass(frozen=True)
class _Loop:
    """A loop that counts to a number."""

    count: Node
    place: Place


def plan(context: FixContext) -> Plan:
    """Multiply the number of the outermost loop that leads to the step."""
    factor = _offered(context)
    literal, loop = _epochs(context)
    wanted = str(round(literal.value * factor))
    via = literal.via or loop
    title = (
        f"Train to {wanted} instead of {text_of(literal.node)}: {via} on line "
        f"{literal.node.start_point.row + 1}"
    )
    edit = TextEdit(literal.source.range_of(literal.node), wanted)
    return Plan(title, {literal.path: (literal.source, [edit])})


def locate(context: FixContext) -> None:
    """Find the number, and go no further. Raises as `plan` does.

    No text says that a run was too short: what is written anew is a new text.
    """
    _offered(context)
    _epochs(context)


def _epochs(context: FixContext) -> tuple[Literal, str]:
    """The number, and what it stands in."""
    try:
        step = training_step(context)
    except TakenByLibrary as taken:
        return _told_library(taken, context)
    loops = _loops(step.call, step.place(context))
    callers = step.callers
    while callers:
        frame, callers = callers[0], callers[1:]
        for path, source, anchor in context.frames(SourceSite(frames=[frame])):
            calls = calls_in(source, anchor) if anchor.state in ("exact", "moved") else []
            if len(calls) == 1:
                place = Place(path, source, callers, context.frames)
                loops += _loops(calls[0], place)
    reasons: list[str] = []
    for loop in reversed(loops):
        try:
            place = replace(loop.place, number=integer, wanted="the number of epochs")
            return follow(loop.count, place), "the loop"
        except NotApplicable as reason:
            reasons.append(str(reason))
    raise NotApplicable(
        reasons[0] if reasons else "no loop over a number of epochs stands around the step"
    )


def _told_library(taken: TakenByLibrary, context: FixContext) -> tuple[Literal, str]:
    settings = library_settings(taken)
    where = f"the call of {settings.name} on line {settings.line}"
    keyword = settings.keyword(_SETTINGS)
    if keyword is None:
        raise NotApplicable(f"{taken}; tell it to train longer there")
    steps = settings.passed.value(None, "max_steps")
    # It counts before the epochs in both libraries, and -1 is a word for none.
    if steps is not None and text_of(steps) not in ("-1", "None"):
        return follow(steps, _place(settings, "max_steps", context)), "max_steps"
    value = settings.passed.value(None, keyword)
    if value is None:
        raise NotApplicable(f"{where} sets no {keyword}; set it there")
    return follow(value, _place(settings, keyword, context)), keyword


def _place(settings: LibrarySettings, keyword: str, context: FixContext) -> Place:
    return replace(settings.place(context), number=number, wanted=keyword)


def _loops(node: Node, place: Place) -> list[_Loop]:
    """The counting loops around a node in its function, innermost first."""
    found: list[_Loop] = []
    around = node.parent
    while around is not None and around.type not in _SCOPES:
        if around.type == "for_statement":
            count = _count(around.child_by_field_name("right"))
            if count is not None:
                found.append(_Loop(count, place))
        around = around.parent
    return found


def _count(counted: Node | None) -> Node | None:
    """`n` of `range(n)`, `range(1, n + 1)` and of a progress bar around them; None for others."""
    passed = arguments(counted) if counted is not None and counted.type == "call" else None
    if counted is None or passed is None or not passed.positional:
        return None
    if callee_name(counted) not in _RANGES:
        return _count(passed.positional[0]) if callee_name(counted) == "tqdm" else None
    if len(passed.positional) == 1:
        return passed.positional[0]
    start, stop = passed.positional[:2]
    if len(passed.positional) > 2:
        return None
    if integer(start) == 0:
        return stop
    right = stop.child_by_field_name("right")
    operator = stop.child_by_field_name("operator")
    if stop.type == "binary_operator" and text_of(operator) == "+" and right is not None:
        return stop.child_by_field_name("left") if integer(right) == integer(start) else None
    return stop if integer(start) == 1 and integer(stop) is None else None


def _offered(context: FixContext) -> float:
    value = context.offer.parameters.get("factor") if context.offer is not None else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 < value <= 100:
        raise NotApplicable(f"expected a factor above 1 and at most 100, got {value!r}")
    return value
