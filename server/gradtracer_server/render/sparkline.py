"""A series as a row of block characters: `▁▂▄▆█`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

WIDTH = 16
_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """At most `width` blocks between the least and the greatest value; empty below two values.

    Longer series are averaged piece by piece. One that never changes is drawn low.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    points = _averaged(finite, width)
    low, high = min(points), max(points)
    if high <= low:
        return _BLOCKS[0] * len(points)
    top = len(_BLOCKS) - 1
    # The least floats there are have no reciprocal.
    return "".join(_BLOCKS[round((point - low) / (high - low) * top)] for point in points)


def _averaged(values: Sequence[float], width: int) -> list[float]:
    count = min(width, len(values))
    edges = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
