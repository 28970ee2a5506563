"""Small plots of a layer as one SVG image, for clients that said they can draw it.

Nothing of a journal but numbers goes into the image, and every number is drawn within its panel.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gradtracer_server.render.numbers import count, number

if TYPE_CHECKING:
    from gradtracer_server.history import History

Theme = Literal["light", "dark", "highContrast", "highContrastLight"]
"""Kinds of colour theme, by the names VS Code gives them."""

_WIDTH, _HEIGHT, _GAP = 132, 64, 14
_HEAD, _FOOT = 14, 12
_SNR = "gradient_snr"
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class _Colours:
    """Text, axes, and three kinds of rows, told apart without red and green."""

    text: str
    axis: str
    healthy: str
    zombie: str
    unseen: str


_LIGHT = _Colours("#3b3b3b", "#b0b0b0", "#0072b2", "#d55e00", "#c9c9c9")
_DARK = _Colours("#cccccc", "#6b6b6b", "#56b4e9", "#e69f00", "#4d4d4d")
_COLOURS: dict[Theme, _Colours] = {
    "light": _LIGHT,
    "dark": _DARK,
    "highContrast": _Colours("#ffffff", "#ffffff", "#56b4e9", "#f0e442", "#808080"),
    "highContrastLight": _Colours("#000000", "#000000", "#0072b2", "#d55e00", "#808080"),
}

_Points = list[tuple[float, float]]


def plots(
    values: Mapping[str, float],
    curves: Mapping[str, Sequence[float]],
    history: History,
    theme: Theme = "dark",
) -> tuple[str, str]:
    """The plots of a layer as a `data:` URI and the words that stand for them; empty without any.

    From left to right: the Lorenz curve of exposure, the rows by state over time, the SNR of the
    gradient over time.
    """
    colours = _COLOURS[theme]
    panels = [
        panel
        for panel in (
            _lorenz(values, curves.get("lorenz", ()), colours),
            _rows(values, history, colours),
            _snr(history, colours),
        )
        if panel is not None
    ]
    if not panels:
        return "", ""
    width = len(panels) * (_WIDTH + _GAP) - _GAP
    height = _HEAD + _HEIGHT + _FOOT
    drawn = "".join(
        f'<g transform="translate({index * (_WIDTH + _GAP)} 0)">{body}</g>'
        for index, (_, body) in enumerate(panels)
    )
    image = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="9" '
        f'fill="{colours.text}">{drawn}</svg>'
    )
    uri = f"data:image/svg+xml;base64,{base64.b64encode(image.encode()).decode()}"
    return uri, "; ".join(words for words, _ in panels)


_Panel = tuple[str, str]
"""What it shows in words, and its SVG."""


def _lorenz(
    values: Mapping[str, float], curve: Sequence[float], colours: _Colours
) -> _Panel | None:
    """Share of look-ups of the least used share of rows; the diagonal is equal use."""
    if len(curve) < _FEWEST or not all(math.isfinite(each) for each in curve):
        return None
    gini = values.get("gini")
    measured = "" if gini is None else f", Gini {number(gini, digits=2)}"
    points = [(index / (len(curve) - 1), each) for index, each in enumerate(curve)]
    body = _line([(0.0, 0.0), (1.0, 1.0)], colours.axis, dashed=True)
    body += _area([(x, x) for x, _ in points], points, colours.healthy, opacity=0.25)
    body += _line(points, colours.healthy)
    return f"Lorenz curve of exposure{measured}", (
        _frame(f"Exposure{measured}", "rows, least used first", colours) + body
    )


def _rows(values: Mapping[str, float], history: History, colours: _Colours) -> _Panel | None:
    """Rows seen and sound, zombie rows, rows never seen, stacked, over the steps."""
    total = values.get("rows", 0.0)
    seen, zombies = history.series("seen_rows"), dict(history.series("zombie_rows"))
    if total <= 0 or len(seen) < _FEWEST:
        return None
    first, last = seen[0][0], seen[-1][0]
    places = [(step - first) / max(last - first, 1) for step, _ in seen]
    sound = [(max(rows - zombies.get(step, 0.0), 0.0)) / total for step, rows in seen]
    known = [rows / total for _, rows in seen]
    floor, ceiling = [0.0] * len(seen), [1.0] * len(seen)
    body = "".join(
        _area(list(zip(places, below, strict=True)), list(zip(places, above, strict=True)), colour)
        for below, above, colour in (
            (floor, sound, colours.healthy),
            (sound, known, colours.zombie),
            (known, ceiling, colours.unseen),
        )
    )
    named = f"{count(zombies.get(last, 0.0))} zombie, {count(total - seen[-1][1])} unseen"
    return f"rows by state over steps: {named}", (
        _frame(f"Rows: {named}", f"steps {count(first)} to {count(last)}", colours) + body
    )


def _snr(history: History, colours: _Colours) -> _Panel | None:
    """Signal-to-noise ratio of the gradient over the steps, decades as the vertical axis."""
    points = [(step, value) for step, value in history.series(_SNR) if value > 0]
    if len(points) < _FEWEST:
        return None
    first, last = points[0][0], points[-1][0]
    logs = [math.log10(value) for _, value in points]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    height = max(high - low, 1)
    line = [
        ((step - first) / max(last - first, 1), (log - low) / height)
        for (step, _), log in zip(points, logs, strict=True)
    ]
    title = f"Gradient SNR {number(points[-1][1], digits=2)}"
    foot = f"1e{low} to 1e{low + height}, steps {count(first)} to {count(last)}"
    drawn = _frame(title, foot, colours) + _line(line, colours.healthy)
    return f"SNR of the gradient, now {number(points[-1][1], digits=2)}", drawn


def _frame(title: str, foot: str, colours: _Colours) -> str:
    return (
        f'<text x="0" y="{_HEAD - 5}">{title}</text>'
        f'<text x="0" y="{_HEAD + _HEIGHT + _FOOT - 2}" font-size="8">{foot}</text>'
        f'<rect x="0" y="{_HEAD}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" '
        f'stroke="{colours.axis}" stroke-width="0.5"/>'
    )


def _line(points: _Points, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="3 2"' if dashed else ""
    return (
        f'<polyline points="{_placed(points)}" fill="none" stroke="{colour}" '
        f'stroke-width="{0.7 if dashed else 1.5}"{dash}/>'
    )


def _area(below: _Points, above: _Points, colour: str, opacity: float = 1.0) -> str:
    faint = f' fill-opacity="{opacity}"' if opacity < 1 else ""
    return f'<polygon points="{_placed([*above, *reversed(below)])}" fill="{colour}"{faint}/>'


def _placed(points: _Points) -> str:
    """Shares of the panel's width and height as coordinates, kept inside it."""
    return " ".join(
        f"{_WIDTH * min(max(x, 0.0), 1.0):.1f},{_HEAD + _HEIGHT * (1 - min(max(y, 0.0), 1.0)):.1f}"
        for x, y in points
    )
