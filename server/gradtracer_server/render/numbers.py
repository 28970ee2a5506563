"""Numbers as people read them, and lists too long to read: 1,682; 1.2e-4; 88 %; a, b and 7 more."""

from __future__ import annotations

import math
from collections.abc import Sequence

NAMED = 3
"""How many of several things are named before the rest are counted."""


def count(value: float) -> str:
    """A whole number with thousands separated by commas."""
    return f"{round(value):,}" if math.isfinite(value) else "not finite"


def number(value: float, digits: int = 3) -> str:
    """A measured value to `digits` significant digits; whole numbers are kept whole."""
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if value == round(value) and size < 1e15:
        return count(value)
    if size >= 10**digits:
        return count(value) if size < 1e15 else f"{value:.{digits - 1}e}"
    if size < 1e-3:
        mantissa, _, exponent = f"{value:.{max(digits - 2, 0)}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    decimals = digits - 1 - math.floor(math.log10(size))
    return f"{value:,.{max(decimals, 0)}f}"


def percent(share: float) -> str:
    """A share of one as a percentage; never rounds to certainty or to nothing."""
    if not math.isfinite(share):
        return "not finite"
    if 0 < share < 0.01 or 0.99 < share < 1:
        text = f"{100 * share:.1f}"
        if text == "100.0":
            return "over 99.9 %"
        if text == "0.0":
            return "under 0.1 %"
        return f"{text} %"
    return f"{100 * share:.0f} %"


def sureness(probability: float) -> str:
    """A probability as a percentage that never claims certainty."""
    return ">99.9 %" if probability > 0.999 else percent(probability)


def p_value(value: float) -> str:
    """A p-value with its sign: `p = 0.003`, `p < 0.0001`."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def duration(seconds: float) -> str:
    """A time to come or gone by, no finer than one would say it: `40 s`, `3 min`, `2 h 5 min`."""
    if not math.isfinite(seconds):
        return "not finite"
    if seconds < 60:
        return f"{10 * math.ceil(max(seconds, 1) / 10)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    rest = len(names) - NAMED
    return f"{shown} and {count(rest)} more" if rest > 0 else shown
