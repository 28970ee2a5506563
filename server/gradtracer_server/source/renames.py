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
    anchor: Anchor, frame: SourceFrame, recorded: Iterable[SourceFrame]
) -> bool:
    """Whether a statement was found in another class that the run had recorded as well.

    That class was not renamed to: the statement in it is a layer of its own.
    """
    before, now = enclosing_scope(frame.qualname), anchor.qualname
    if anchor.range is None or before.partition(".")[0] == now.partition(".")[0]:
        return False
    return any(
        enclosing_scope(each.qualname) == now and each.file == frame.file for each in recorded
    )


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
    new = {
        source.canonical(statement).partition(_ASSIGNS)[0]: statement
        for statement in value_elsewhere(frame, source, scope)
    }
    if others - new.keys() or len(new.keys() - others) != 1:
        return None
    (name,) = new.keys() - others
    whole = source.range_of(new[name].span)
    return Anchor("outdated", whole, whole, scope)
