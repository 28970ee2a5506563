"""A layer's figures with names and units for people.

A statistic that has no entry here is shown under its own name, so that a newer probe's figures
appear without a change of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gradtracer_server.render.numbers import count, number, percent

_SHOWN = 40
"""No table is longer, whatever a journal says."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what, how much, and between which bounds."""

    label: str
    value: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    label: str
    show: Callable[[float], str]
    unit: str = ""
    of: str = ""
    """Statistic the value is a part of: `24.3 of 64`."""


def _two_digits(value: float) -> str:
    return number(value, digits=2)


_KNOWN: tuple[_Known, ...] = (
    _Known("steps", "Steps followed", count, of="run_steps"),
    _Known("exposures", "Look-ups", count),
    _Known("seen_rows", "Rows seen", count, of="rows"),
    _Known("coverage", "Coverage", percent),
    _Known("unseen_rows", "Rows never seen", count, of="rows"),
    _Known("dead_rows", "Dead rows", count, of="rows"),
    _Known("zombie_rows", "Zombie rows", count, of="rows"),
    _Known("unknown_rows", "Rows seen too rarely to judge", count, of="rows"),
    _Known("gini", "Popularity Gini", _two_digits),
    _Known("entropy", "Exposure entropy", number, unit="nats"),
    _Known("effective_rank", "Effective rank", number, of="dim"),
    _Known("update_velocity", "Update of a touched row", number, unit="per step"),
    _Known("oscillation", "Oscillation ρ (below 0: alternating)", _two_digits),
    _Known("noise_energy", "Gradient noise energy", number),
    _Known("drift_share", "Movement of rows not in the batch", percent),
    _Known("saliency_top_share", "Saliency held by the top 1 % of rows", percent),
    _Known("saliency_rows_99", "Rows that hold 99 % of the saliency", percent),
    _Known("staleness_median", "Since a row's last look-up, median", count, unit="steps"),
    _Known("staleness_p95", "Since a row's last look-up, 95 % within", count, unit="steps"),
    _Known("rounds", "Rounds read", count, of="run_steps"),
    _Known("trees", "Trees", count),
    _Known("leaves", "Leaves", count),
    _Known("max_depth", "Deepest leaf", count, unit="splits"),
    _Known("leaf_velocity", "Movement of the margin by the last round", number),
    _Known("leaf_velocity_share", "Of that of the largest", percent),
    _Known("late_share", "Path of the last quarter of the rounds", percent),
    _Known("velocity_growth", "Growth of the movement", number, unit="per round"),
    _Known("top_share", "Gain of the top feature", percent),
    _Known("effective_features", "Features in effective use", number, of="features"),
    _Known("unused_features", "Features never split on", count, of="features"),
    _Known("split_gini", "Gini of the gain over features", _two_digits),
    _Known("training", "Training metric", number),
    _Known("validation", "Validation metric", number),
    _Known("best_round", "Best round", count, of="rounds"),
    _Known("grad_norm", "Gradient norm", number),
    _Known("update_ratio", "Update relative to the weights", number, unit="per step"),
    _Known("gradient_snr", "Gradient signal to noise", number, unit="per step"),
    _Known("weight_norm", "Norm of the weights", number),
    _Known("dead_units", "Units without a gradient", count, of="units"),
    _Known("saturated_units", "Units that hardly pass a gradient", count, of="units"),
    _Known("activation_slope", "Slope of its activation", percent),
    _Known("grad_zero", "Steps without a gradient", count),
    _Known("tower_pace_ratio", "Other tower moves, times as far", _two_digits),
    _Known("tower_gradient_ratio", "Other tower's gradient, times as large", _two_digits),
    _Known("tower_correlation", "Moves with the other tower, correlation", _two_digits),
    _Known("tower_correlation_lag", "At a lag of", count, unit="steps"),
    _Known("tower_gradient_correlation", "Gradients of both towers, correlation", _two_digits),
    _Known("tower_gradient_correlation_lag", "At a lag of", count, unit="steps"),
    _Known("grad_nonfinite", "Steps with a gradient that is not finite", count),
)
_BY_NAME = {known.name: known for known in _KNOWN}
_PROGRESS = frozenset({"steps", "exposures"})
"""What grows with the training, whatever the model."""
_NAMES = frozenset(known.name for known in _KNOWN)
_BOUNDS = ("_low", "_high")
_SIZES = frozenset({"run_steps", "rows", "dim", "units", "features"})


def figures(values: Mapping[str, float]) -> list[Figure]:
    """The table of an observation's values: known statistics first, then the others by name."""
    table = [
        _known_figure(known, values)
        for known in _KNOWN
        if known.name in values and not _says_nothing(known.name, values)
    ]
    table += [
        Figure(name, number(value), _interval(name, number, values))
        for name, value in sorted(values.items())
        if name not in _NAMES and name not in _SIZES and not _is_bound(name, values)
    ]
    return table[:_SHOWN]


def is_known(name: str) -> bool:
    """Whether a statistic has a name for people."""
    return name in _NAMES


def label(name: str) -> str:
    """A statistic's name for people."""
    known = _BY_NAME.get(name)
    return known.label if known else name


def shown(name: str, value: float) -> str:
    """A statistic's value for people, without its unit."""
    known = _BY_NAME.get(name)
    return known.show(value) if known else number(value)


def tells_of_the_model(name: str) -> bool:
    """Whether a statistic is a figure of its own: no bound, size or count of what was done."""
    return name not in _PROGRESS and name not in _SIZES and not name.endswith(_BOUNDS)


def _says_nothing(name: str, values: Mapping[str, float]) -> bool:
    """A fault that did not happen, or a share whose count stands in the table too."""
    if name == "coverage":
        return "seen_rows" in values and "rows" in values
    return name == "grad_nonfinite" and values[name] == 0


def _known_figure(known: _Known, values: Mapping[str, float]) -> Figure:
    text = known.show(values[known.name])
    if known.of in values and values[known.name] <= values[known.of]:
        text = f"{text} of {count(values[known.of])}"
    if known.unit:
        text = f"{text} {known.unit}"
    return Figure(known.label, text, _interval(known.name, known.show, values))


def _interval(name: str, show: Callable[[float], str], values: Mapping[str, float]) -> str:
    low, high = (values.get(name + bound) for bound in _BOUNDS)
    return "" if low is None or high is None else f"{show(low)} to {show(high)}"


def _is_bound(name: str, values: Mapping[str, float]) -> bool:
    return any(name.endswith(bound) and name.removesuffix(bound) in values for bound in _BOUNDS)
