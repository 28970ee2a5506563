"""Charts of a page as inline SVG; colours are the page's own, so that they follow its theme."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from gradtracer_server.render.escape import clean
from gradtracer_server.render.numbers import count, number

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 320, 120
_LEFT, _TOP, _BOTTOM = 4, 18, 16


def line_chart(title: str, points: Points, band: Sequence[tuple[float, float, float]] = ()) -> str:
    """Values over steps, the interval behind them; empty below two points.

    `band`: step, lower and upper bound.
    """
    drawn = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(drawn) < 2:
        return ""
    bounds = [(x, low, high) for x, low, high in band if math.isfinite(low) and math.isfinite(high)]
    values = [y for _, y in drawn] + [v for _, low, high in bounds for v in (low, high)]
    low, high = min(values), max(values)
    first, last = drawn[0][0], drawn[-1][0]
    frame = _Frame(first, last, low, high)
    body = ""
    if len(bounds) > 1:
        above = [frame.place(x, high_) for x, _, high_ in bounds]
        below = [frame.place(x, low_) for x, low_, _ in reversed(bounds)]
        body += f'<polygon class="band" points="{" ".join([*above, *below])}"/>'
    line = " ".join(frame.place(x, y) for x, y in drawn)
    body += f'<polyline class="line" points="{line}"/>'
    ends = f"{number(drawn[0][1])} to {number(drawn[-1][1])}"
    return _svg(title, ends, f"steps {count(first)} to {count(last)}", body, (low, high))


def lorenz_chart(title: str, curve: Sequence[float]) -> str:
    """A Lorenz curve against equal shares; empty below two points."""
    if len(curve) < 2 or not all(math.isfinite(each) for each in curve):
        return ""
    frame = _Frame(0.0, 1.0, 0.0, 1.0)
    line = " ".join(frame.place(i / (len(curve) - 1), each) for i, each in enumerate(curve))
    equal = f"{frame.place(0.0, 0.0)} {frame.place(1.0, 1.0)}"
    body = (
        f'<polyline class="equal" points="{equal}"/>'
        f'<polygon class="band" points="{line} {frame.place(0.0, 0.0)}"/>'
        f'<polyline class="line" points="{line}"/>'
    )
    return _svg(title, "", "share of rows, least used first, to share of look-ups", body, None)


class _Frame:
    """Maps steps and values into the chart; what lies outside is drawn on its edge."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self._first, self._span = first, (last - first) or 1.0
        self._low, self._height = low, (high - low) or 1.0

    def place(self, x: float, y: float) -> str:
        across = min(max((x - self._first) / self._span, 0.0), 1.0)
        up = min(max((y - self._low) / self._height, 0.0), 1.0)
        height = _HEIGHT - _TOP - _BOTTOM
        return f"{_LEFT + across * (_WIDTH - 2 * _LEFT):.1f},{_TOP + (1 - up) * height:.1f}"


def _svg(title: str, ends: str, foot: str, body: str, scale: tuple[float, float] | None) -> str:
    name = html.escape(clean(title, 60))
    spoken = f"{name}{': ' if ends else ''}{html.escape(ends)}"
    if scale is not None:
        foot += f"; from {number(scale[0])} to {number(scale[1])}"
    height = _HEIGHT - _TOP - _BOTTOM
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{spoken}">'
        f'<text class="name" x="{_LEFT}" y="12">{name}</text>'
        f'<text class="ends" x="{_WIDTH - _LEFT}" y="12">{html.escape(ends)}</text>'
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_WIDTH - 2 * _LEFT}" '
        f'height="{height}"/>{body}'
        f'<text class="foot" x="{_LEFT}" y="{_HEIGHT - 4}">{html.escape(foot)}</text></svg>'
    )
