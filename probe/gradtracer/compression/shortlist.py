"""Candidates measured by the user's metric, one unit changed at a time.

What is measured is noisy, and the least of many noisy figures is too good to be true. So each is
drawn towards what was predicted for it, by the share of its deviation that is noise: the
empirical-Bayes estimate with the prediction as its prior mean (Efron and Morris 1975).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from gradtracer.compression.quality import Ratio
from gradtracer.compression.units import Candidate, Unit


class Measured(NamedTuple):
    """A candidate with the share of the quality that it costs alone."""

    candidate: Candidate
    damage: float
    standard_error: float


def shortlisted(units: Sequence[Unit], most: int) -> list[tuple[int, int]]:
    """Positions of unit and candidate to be measured: of each unit those spread over its sizes."""
    each = max(2, most // max(1, len(units)))
    chosen: list[tuple[int, int]] = []
    for at, unit in enumerate(units):
        last = len(unit.candidates) - 2
        if last < 0:
            continue
        picks = np.unique(np.linspace(0, last, min(each, last + 1)).round().astype(int))
        chosen += [(at, int(pick)) for pick in picks]
    return chosen


def measure(
    units: Sequence[Unit], most: int, ratio: Callable[[Candidate], Ratio]
) -> dict[tuple[int, int], Measured]:
    """The shortlist, measured, by positions of unit and candidate."""
    found: dict[tuple[int, int], Measured] = {}
    for at, pick in shortlisted(units, most):
        candidate = units[at].candidates[pick]
        seen = ratio(candidate)
        found[at, pick] = Measured(candidate, 1.0 - seen.value, seen.standard_error)
    return found


class Estimate(NamedTuple):
    """What to reckon with of a candidate, as shares of the quality."""

    damage: float
    """Negative where the quality is to rise."""
    variance: float
    """Of the damage among as many users as were asked: nothing of which users they are."""


def estimated(
    units: Sequence[Unit], measured: dict[tuple[int, int], Measured]
) -> tuple[list[Unit], list[list[Estimate]]]:
    """Units that say what was measured, and for each candidate the damage to reckon with.

    The prior mean is the prediction times one factor for all, by weighted least squares through
    the origin; measured candidates deviate from it by as much as their errors do not explain.
    The variance is the measured one, else in proportion to the disturbance: users differ by as much
    as their scores move, and the disturbance is in proportion to that squared.
    """
    predicted = np.array([each.candidate.damage for each in measured.values()])
    seen = np.array([each.damage for each in measured.values()])
    errors = np.array([each.standard_error for each in measured.values()])
    slope = _slope(predicted, seen, errors)
    spread = _spread(seen - slope * predicted, errors)
    disturbed = np.array([each.candidate.disturbance for each in measured.values()])
    # the median ratio: the few that disturb most would else decide alone
    shaken = disturbed > 0
    per_disturbance = (
        float(np.median(errors[shaken] ** 2 / disturbed[shaken])) if any(shaken) else 0.0
    )
    named: list[Unit] = []
    damages: list[list[Estimate]] = []
    for at, unit in enumerate(units):
        candidates: list[Candidate] = []
        row: list[Estimate] = []
        for pick, candidate in enumerate(unit.candidates):
            prior, found = slope * candidate.damage, measured.get((at, pick))
            variance = per_disturbance * candidate.disturbance
            if found is not None:
                noise = found.standard_error**2
                kept = spread / (spread + noise) if spread + noise > 0 else 1.0
                prior += kept * (found.damage - prior)
                variance = noise
                candidate = _told(candidate, found.damage)
            candidates.append(candidate)
            row.append(Estimate(prior, variance))
        named.append(unit._replace(candidates=candidates))
        damages.append(row)
    return named, damages


def _slope(
    predicted: NDArray[np.float64], seen: NDArray[np.float64], errors: NDArray[np.float64]
) -> float:
    """Not negative: nothing that was predicted to harm is taken to help."""
    if not len(predicted) or not predicted.any():
        return 1.0
    typical = float(np.median(errors)) if len(errors) else 0.0
    weights = 1.0 / (errors**2 + typical**2) if typical > 0 else np.ones(len(errors))
    slope = float((weights * predicted * seen).sum() / (weights * predicted**2).sum())
    least = 1e-6 * float(np.abs(seen).max() or 1.0) / float(np.abs(predicted).max())
    return max(least, slope)


def _spread(deviations: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """Variance of the deviations that their errors do not explain."""
    if not len(deviations):
        return 0.0
    return max(0.0, float(np.mean(deviations**2 - errors**2)))


def _told(candidate: Candidate, damage: float) -> Candidate:
    layers = {
        name: replace(entry, measured_damage=damage) for name, entry in candidate.layers.items()
    }
    return candidate._replace(layers=layers)
