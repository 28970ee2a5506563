"""What changed since the run before, and the way a figure went: a line each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gradtracer_server.render.figures import label, shown, tells_of_the_model
from gradtracer_server.render.numbers import count, percent
from gradtracer_server.render.sparkline import sparkline

if TYPE_CHECKING:
    from gradtracer_server.earlier import EarlierRun
    from gradtracer_server.history import History

NOTABLE = 0.05
"""Relative difference below which two runs of one script, differently seeded, count as alike."""

UNKNOWN = "unknown time"

_NAMED = 3
_TRENDS = 2
_FEWEST = 4
"""Points that make a trend."""


def since_last_run(
    layer: str,
    values: Mapping[str, float],
    step: int,
    types: Sequence[str],
    earlier: EarlierRun,
    present: History,
) -> str:
    """`Since the run of 14:02, at step 500: effective rank 11.7 to 1.9.`; empty without a match.

    `values`, `step` and `types`: the layer's figures, when they were made, and what holds now.
    `present`: its figures before. Where the earlier run ended sooner, those of that step count.
    """
    history = earlier.layers.get(layer)
    if history is None or not len(history):
        return ""
    last = history.steps[-1]
    if last < step:
        values = present.near(last)[1]
    then, before = history.near(min(step, last))
    notable = sorted(
        (name for name in values.keys() & before.keys() if _differs(name, values, before)),
        key=lambda name: (-_difference(before[name], values[name]), name),
    )
    parts = [
        f"{_within(label(name))} {shown(name, before[name])} to {shown(name, values[name])}"
        for name in notable[:_NAMED]
    ]
    if len(notable) > _NAMED:
        more = len(notable) - _NAMED
        parts.append(f"{count(more)} more figure{'s' if more > 1 else ''} changed")
    raised = earlier.diagnoses.get(layer, {})
    ended = (type_ for type_, at in raised.items() if type_ not in types and step >= at)
    parts += [f"{type_} does not hold any more" for type_ in ended]
    if not parts and not values.keys() & before.keys():
        return ""
    told = "; ".join(parts) or f"no figure differs by {percent(NOTABLE)} or more"
    return f"Since the run of {moment(earlier.started_at)}, at step {count(then)}: {told}."


def trends(history: History, wanted: Sequence[str]) -> list[tuple[str, str, str]]:
    """Label, sparkline, and first and last value, of the first figures wanted that moved."""
    lines: list[tuple[str, str, str]] = []
    for name in dict.fromkeys(wanted):
        points = history.series(name)
        values = [value for _, value in points]
        if len(points) < _FEWEST or _difference(min(values), max(values)) < NOTABLE:
            continue
        first, last = shown(name, values[0]), shown(name, values[-1])
        steps = f"steps {count(points[0][0])} to {count(points[-1][0])}"
        lines.append((label(name), sparkline(values), f"{first} to {last}, {steps}"))
        if len(lines) == _TRENDS:
            break
    return lines


def moment(seconds: float | None) -> str:
    """Local date and minute."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else UNKNOWN
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def _within(label: str) -> str:
    """A label as it stands within a sentence, without what it explains in brackets."""
    return label[:1].lower() + label[1:].partition(" (")[0]


def _differs(name: str, values: Mapping[str, float], before: Mapping[str, float]) -> bool:
    """By enough, and by more than their intervals allow where both have one."""
    if not tells_of_the_model(name) or _difference(before[name], values[name]) < NOTABLE:
        return False
    bounds = (name + "_low", name + "_high")
    if all(bound in figures for bound in bounds for figures in (values, before)):
        (low, high), (low_before, high_before) = (
            (figures[bounds[0]], figures[bounds[1]]) for figures in (values, before)
        )
        return low > high_before or high < low_before
    return True


def _difference(one: float, other: float) -> float:
    """Of the larger, 0 to 2."""
    size = max(abs(one), abs(other))
    return abs(one - other) / size if size > 0 else 0.0
