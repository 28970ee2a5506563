"""Finds the statement that builds what a recorded one built, now under another name."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import Anchor
from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.statements import enclosing_scope

_ASSIGNS = " = "


@lru_cache(maxsize=8192)
def target_of(text: str) -> str:
    """What an assignment binds, in canonical form; empty for any other statement."""
    target, assigns, _ = canonical(text).partition(_ASSIGNS)
    return target if assigns else ""


def renamed(frame: SourceFrame, source: SourceText, taken: Collection[str]) -> Anchor | None:
    """The one statement of the scope that assigns the recorded value to a name that is new.

    `taken`: the targets that the run itself recorded, which are other layers and not this one.
    """
    target, assigns, value = canonical(frame.text).partition(_ASSIGNS)
    if not assigns or source.broken:
        return None
    scope = enclosing_scope(frame.qualname)
    found = [
        statement
        for statement in source.statements_in(scope)
        if _is_renamed(source.canonical(statement), target, value, taken)
    ]
    if len(found) != 1:
        return None
    whole = source.range_of(found[0].span)
    return Anchor("outdated", whole, whole, scope)


def _is_renamed(form: str, target: str, value: str, taken: Collection[str]) -> bool:
    new, assigns, what = form.partition(_ASSIGNS)
    return bool(assigns) and what == value and new != target and new not in taken
