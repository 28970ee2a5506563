"""What a training tells of its loss and metrics: every value, within bounds, read when reported."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST = 4_096
POINTS = 64
"""Points of a curve that a test sees."""

_HELD_OUT = re.compile(r"^(val|valid|validation|dev|eval|test|held_?out)(?=[_/.\- ]|$)[_/.\- ]?")
_TRAINING = re.compile(r"^(train|training|fit)(?=[_/.\- ]|$)")
_RANKING = re.compile(r"^(ndcg|dcg|hr|hits?|hit_?rate|recall|mrr|map|precision)(?=[@_\d]|$)")
_HIGHER = re.compile(
    r"^(acc|accuracy|auc|roc_?auc|pr_?auc|aucpr|f1|r2|kappa|mcc|bleu|rouge\w*|map|average_precision"
    r"|balanced_accuracy|precision|recall|specificity|sensitivity)(?=[@_\d]|$)"
)
_LOWER = re.compile(
    r"^(|loss|log_?loss|bce|nll|ce|cross_?entropy|error|err|mse|rmse|mae|mape|perplexity|ppl|wer|cer)"
    r"(?=[@_\d]|$)"
)


class Curve(NamedTuple):
    """A series of means over equal shares of the values told."""

    name: str
    steps: NDArray[np.float64]
    """`[T]` optimizer steps done."""
    values: NDArray[np.float64]
    """`[T]` as they were told."""
    higher_is_better: bool = False

    @property
    def falling(self) -> NDArray[np.float64]:
        """`[T]` turned so that lower is better."""
        return -self.values if self.higher_is_better else self.values


class NotNumbers(NamedTuple):
    """Values told that are infinite or undefined."""

    times: int
    of: int
    """Values kept of those told."""
    step: int
    """Optimizer steps done at the first of them."""


class Told:
    """One series. `add` is for the training thread, `curve` for the reporting thread."""

    def __init__(self) -> None:
        self._points: list[list[Any]] = []
        self._every = 1
        self._passed = 0

    def add(self, step: int, value: Any) -> None:
        """Keep a number or a tensor of one element; of very many every second, fourth, … one."""
        self._passed += 1
        if self._passed % self._every:
            return
        self._points.append([step, value])
        if len(self._points) >= _MOST:
            self._every *= 2
            self._points = self._points[1::2]

    def curve(self, name: str, *, higher_is_better: bool = False) -> Curve | None:
        """What was told and is finite, as at most 64 points; None without any."""
        found = [point for point in self._read() if math.isfinite(point[1])]
        if not found:
            return None
        whole = np.array(found, dtype=np.float64)
        parts = np.array_split(whole, min(len(whole), POINTS))
        steps = np.array([part[-1, 0] for part in parts])
        values = np.array([part[:, 1].mean() for part in parts])
        return Curve(name, steps, values, higher_is_better)

    def not_numbers(self) -> NotNumbers | None:
        """What was told and is not finite; None where all is."""
        read = self._read()
        steps = [step for step, value in read if not math.isfinite(value)]
        return NotNumbers(len(steps), len(read), steps[0]) if steps else None

    def _read(self) -> list[tuple[int, float]]:
        points = list(self._points)
        for point in points:
            if point[1] is not None and not isinstance(point[1], float):
                # Read once: a tensor may have to come from another device.
                point[1] = _number(point[1])
        return [(step, value) for step, value in points if value is not None]


def sense_of_held_out(name: str) -> bool | None:
    """Whether a metric of held-out examples is better when higher; None for any other name.

    A name begins with `val`, `validation`, `dev`, `eval`, `test`, or is a ranking metric's, which
    nobody measures on training examples.
    """
    plain = name.strip().lower()
    rest = _HELD_OUT.sub("", plain)
    if rest == plain and (_TRAINING.match(plain) or not _RANKING.match(plain)):
        return None
    if _RANKING.match(rest) or _HIGHER.match(rest):
        return True
    return False if _LOWER.match(rest) else None


def _number(value: Any) -> float | None:
    """None for what is no single number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None
