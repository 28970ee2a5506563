"""What the layers of a model say together: figures that no layer has by itself."""

from __future__ import annotations

import math

import numpy as np

from gradtracer.analyzers.layer_figures import (
    LayerFigures,
    ModelSignal,
    Origin,
    Vanishing,
    latter_half,
    steps_without_gradient,
)
from gradtracer.statistics.log_mean import LogMean
from gradtracer.statistics.step_history import Column

_LEAST_STEPS = 32
_LEAST_LAYERS = 3
_PACE = 0.01
"""A gradient that is lost shows in the update too, unless the optimizer divides its scale out."""
_OFF = 0.9
_NO_PACE = math.log(1e-12)


def with_model(figures: list[LayerFigures], vanishing_ratio: float) -> list[LayerFigures]:
    """The same figures, in the model's order, each knowing what the others say."""
    return _with_vanishing(_with_origin(_with_signal(figures)), vanishing_ratio)


def _with_origin(figures: list[LayerFigures]) -> list[LayerFigures]:
    steps = [each.first_bad for each in figures if each.first_bad >= 0]
    if not steps:
        return figures
    first = [i for i, each in enumerate(figures) if each.first_bad == min(steps)]
    after = figures[first[-1] + 1].layer if first[-1] + 1 < len(figures) else ""
    origin = Origin(min(steps), len(first), len(figures), after)
    return [
        each._replace(origin=origin) if i == first[-1] else each for i, each in enumerate(figures)
    ]


def _with_signal(figures: list[LayerFigures]) -> list[LayerFigures]:
    mapping = [each for each in figures if not each.normalises]
    known = [each.snr.strongest for each in mapping if each.snr is not None]
    whole = len(known) == len(mapping)
    strongest = max(known, default=math.inf) if whole else math.inf
    norm = math.sqrt(sum(_usual_gradient(each) ** 2 for each in figures))
    zeros = [steps_without_gradient(each) for each in mapping]
    silent = len(zeros) > 1 and all(zero >= _OFF * steps for zero, steps in zeros)
    off = any(
        each.dead is not None and each.dead.unseen.dead >= _OFF * each.dead.units
        for each in mapping
    )
    still = not any(_moves(each) for each in mapping)
    return [
        each._replace(
            model=ModelSignal(
                strongest, bool(mapping) and each is mapping[-1], norm, silent, off, still
            )
        )
        for each in figures
    ]


def _moves(figures: LayerFigures) -> bool:
    sums = figures.sums[latter_half(figures)].sum(axis=0)
    return bool(2 * sums[Column.MOVED_ENOUGH] > sums[Column.MEASURED])


def _usual_gradient(figures: LayerFigures) -> float:
    sound = figures.sound_steps
    used = sound > 0
    if not used.any():
        return 0.0
    return math.exp(float(np.median(figures.column(Column.LOG_NORM)[used] / sound[used])))


def _with_vanishing(figures: list[LayerFigures], limit: float) -> list[LayerFigures]:
    """Name layers whose gradient, for their weights, is below `limit` of the strongest's."""
    known: dict[int, tuple[LogMean, LogMean]] = {}
    for at, each in enumerate(figures):
        later = latter_half(each)
        gradient = each.grad_norm(later)
        pace = each.update_ratio(later) or _still(each, later)
        weight = float(each.ends[-1, 1])
        if each.normalises or not each.trainable or gradient is None or pace is None:
            continue
        if gradient.n >= _LEAST_STEPS and math.isfinite(weight) and weight > 0:
            known[at] = gradient._replace(log=gradient.log - math.log(weight)), pace
    if len(known) < _LEAST_LAYERS:
        return figures
    strongest = max(known, key=lambda at: known[at][0].log)
    lost = {
        at: found
        for at, each in known.items()
        if (found := _lost(each, known[strongest], limit)) is not None
    }
    if not lost:
        return figures
    first = min(lost)
    named = lost[first]._replace(
        strongest=figures[strongest].layer, layers=len(lost), of=len(known)
    )
    return [
        each._replace(vanished=at in lost, vanishing=named if at == first else None)
        for at, each in enumerate(figures)
    ]


def _still(figures: LayerFigures, later: slice) -> LogMean | None:
    """The pace of a layer whose updates are lost in rounding: measured, and never a movement."""
    measured = int(figures.sums[later, Column.MEASURED].sum())
    return LogMean(_NO_PACE, 0.0, measured) if measured >= _LEAST_STEPS else None


def _lost(
    weak: tuple[LogMean, LogMean], strong: tuple[LogMean, LogMean], limit: float
) -> Vanishing | None:
    gap = weak[0].log - strong[0].log
    error = math.hypot(weak[0].error, strong[0].error)
    pace = math.exp(weak[1].log - strong[1].log)
    z = (math.log(limit) - gap) / max(error, 1e-9)
    confidence = 0.5 * math.erfc(-z / math.sqrt(2))
    if confidence < 0.95 or pace > _PACE:
        return None
    interval = math.exp(gap - 1.96 * error), math.exp(gap + 1.96 * error)
    n = min(weak[0].n, strong[0].n)
    return Vanishing("", 0, 0, math.exp(gap), interval, pace, n, confidence)
