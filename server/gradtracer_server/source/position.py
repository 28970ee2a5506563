"""Places in a text: lines and columns from 0, columns in Unicode code points."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A place between two characters."""

    line: int
    """Line, from 0."""
    column: int
    """Code points before it on its line, from 0."""


class Range(NamedTuple):
    """Text from `start` up to, not including, `end`."""

    start: Position
    """Where it begins."""
    end: Position
    """Where it ends."""
