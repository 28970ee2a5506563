"""Finds the statement that builds what a recorded one built, now under another name."""

from __future__ import annotations

from collections.abc import Iterable

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import Anchor, value_elsewhere
from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.statements import enclosing_scope

_ASSIGNS = " = "


def stands_with_another(
    anchor: Anchor, frame: SourceFrame, source: SourceText, recorded: Iterable[SourceFrame]
) -> bool:
    """Whether a statement found in another class may be a layer of its own.

    So it is where the run had recorded that class as well, and may be where the class of another
    layer that was built alike has lost its name, too.
    """
    before, now = enclosing_scope(frame.qualname), anchor.qualname
    if anchor.range is None or before.partition(".")[0] == now.partition(".")[0]:
        return False
    form = canonical(frame.text)
    for each in recorded:
        scope = enclosing_scope(each.qualname)
        if each.file != frame.file or scope == before:
            continue
        if scope == now or (canonical(each.text) == form and not source.statements_in(scope)):
            return True
    return False


def renamed(
    frame: SourceFrame, source: SourceText, recorded: Iterable[SourceFrame]
) -> Anchor | None:
    """The one statement of the scope that assigns the recorded value to a name that is new.

    `recorded`: the frames of all layers of the run. Names that it has recorded are other layers;
    where another layer of the same value has lost its name, too, either may be meant.
    """
    if source.broken:
        return None
    scope = enclosing_scope(frame.qualname)
    target, _, value = canonical(frame.text).partition(_ASSIGNS)
    others: set[str] = set()
    for each in recorded:
        other, _, what = canonical(each.text).partition(_ASSIGNS)
        if what == value and other != target and enclosing_scope(each.qualname) == scope:
            others.add(other)
    alike = [
        (source.canonical(statement).partition(_ASSIGNS)[0], statement)
        for statement in value_elsewhere(frame, source, scope)
    ]
    new = [statement for name, statement in alike if name not in others]
    if others - {name for name, _ in alike} or len(new) != 1:
        return None
    whole = source.range_of(new[0].span)
    return Anchor("outdated", whole, whole, scope)
