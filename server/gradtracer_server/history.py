"""What a layer's statistics were over a run, thinned to little room however long it is."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping

MOST_POINTS = 256
FEWEST_POINTS = 16
_POINTS_OF_A_RUN = 1 << 15
"""Shared by the layers of a run: a thousand of them keep 32 points each."""

_NOTHING = math.nan


def points_for(layers: int) -> int:
    """How many points each of so many layers may keep."""
    return max(FEWEST_POINTS, min(MOST_POINTS, _POINTS_OF_A_RUN // max(layers, 1)))


class History:
    """Statistics over steps, evenly thinned: when it is full, every second point goes.

    The points always span the whole run, and the last one is always the latest.
    """

    __slots__ = ("_names", "_offered", "_steps", "_stride", "_values")

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._steps = array("q")
        # One row of single precision for each step: a list for each statistic takes ten times that.
        self._values = array("f")
        self._stride = 1
        self._offered = 0

    def __len__(self) -> int:
        return len(self._steps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        # By the bytes, as a value that is missing is equal to none.
        return (self._names, self._steps, self._values.tobytes()) == (
            other._names,
            other._steps,
            other._values.tobytes(),
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @property
    def names(self) -> tuple[str, ...]:
        """Every statistic that had a value."""
        return self._names

    @property
    def steps(self) -> list[int]:
        """The steps of the points, ascending."""
        return list(self._steps)

    def add(self, step: int, values: Mapping[str, float], most: int = MOST_POINTS) -> None:
        """Take the values of a step; what is not later than the last point replaces it."""
        if not values.keys() <= set(self._names):
            self._widen(values)
        if not self._names:
            return
        row = array("f", [_single(values.get(name, _NOTHING)) for name in self._names])
        again = bool(self._steps) and step <= self._steps[-1]
        # Off the grid of points that are kept, the latest stands only until the next comes.
        provisional = (self._offered - 1) % self._stride != 0
        self._offered += not again
        if again or (self._steps and provisional):
            self._steps[-1] = max(step, self._steps[-1])
            self._values[-len(row) :] = row
            return
        self._steps.append(step)
        self._values.extend(row)
        while len(self._steps) > most:
            self._thin()

    def series(self, name: str) -> list[tuple[int, float]]:
        """The points of a statistic: step and value."""
        if name not in self._names:
            return []
        column = self._values[self._names.index(name) :: len(self._names)]
        return [
            (step, value)
            for step, value in zip(self._steps, column, strict=True)
            if not math.isnan(value)
        ]

    def at(self, step: int) -> tuple[int, dict[str, float]]:
        """The last point not after a step, else the first: its step and values."""
        if not self._steps:
            return 0, {}
        index = max(0, bisect_right(self._steps, step) - 1)
        width = len(self._names)
        row = self._values[index * width : (index + 1) * width]
        known = zip(self._names, row, strict=True)
        return self._steps[index], {n: value for n, value in known if not math.isnan(value)}

    def near(self, step: int) -> tuple[int, dict[str, float]]:
        """As `at`, and nothing where that is further away than half of its own step."""
        then, values = self.at(step)
        return (then, values) if 2 * abs(step - then) <= then else (then, {})

    def _widen(self, values: Mapping[str, float]) -> None:
        """Make room for statistics that appear late."""
        new = tuple(name for name in values if name not in self._names)
        width, missing = len(self._names), array("f", [_NOTHING] * len(new))
        wider = array("f")
        for index in range(len(self._steps)):
            wider.extend(self._values[index * width : (index + 1) * width])
            wider.extend(missing)
        self._names += new
        self._values = wider

    def _thin(self) -> None:
        width = len(self._names)
        last = len(self._steps) - 1
        steps, values = array("q"), array("f")
        for index in sorted({*range(0, last, 2), last}):
            steps.append(self._steps[index])
            values.extend(self._values[index * width : (index + 1) * width])
        self._steps, self._values = steps, values
        self._stride *= 2


def _single(value: float) -> float:
    """The value in single precision, which an overflow would make infinite."""
    return value if abs(value) < 3.4e38 else _NOTHING
