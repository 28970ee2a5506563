"""What the probe changed in a running training, and what came of it."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec


class MeasuredEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Difference between the treated rows and the held-out rows of the same run."""

    statistic: str
    """What was compared: `noise_energy` (its logarithm), `update_efficiency`, `example_loss`."""
    difference: float
    """Treated minus held out."""
    interval: tuple[float, float]
    """Interval of `difference` at `level`."""
    level: float
    """Probability that all intervals of the layer hold, at every look and of every statistic."""
    n_treated: int
    """Rows in the treated arm."""
    n_held_out: int
    """Rows in the control arm."""


class Intervention(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the set of rows whose updates are scaled."""

    layer: str
    """Dotted path of the layer."""
    action: str
    """`shrink-updates` while it acts, `wait` while updates are left alone, `stop` when it ends."""
    rows: int
    """Rows in the treated arm."""
    held_out: int
    """Eligible rows left untreated as control."""
    holdout: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Share of eligible rows assigned to the control arm."""
    seed: int
    """Seed of the assignment."""
    mean_scale: float
    """Mean factor on the treated rows' updates, 0 to 1."""
    reason: str
    """Why, in a sentence."""
    sample: list[int] = []
    """At most 20 treated rows."""
    effect: MeasuredEffect | None = None
    """Measured effect that says most; absent until measured."""
    effects: list[MeasuredEffect] = []
    """All measured effects, at the same look."""
    expected: str = ""
    """What was expected of it, in a sentence."""
    improving: float | None = None
    """Posterior probability that the loss of the training is improving; null where unknown."""


def effect_in_words(effect: MeasuredEffect) -> str:
    """`noise energy -12 % [-20, -3]`: treated against held out, with its interval."""
    low, high = effect.interval
    if effect.statistic == "noise_energy":
        parts = [100 * math.expm1(min(value, 50.0)) for value in (effect.difference, low, high)]
        return "noise energy {:+.0f} % [{:+.0f}, {:+.0f}]".format(*parts)
    name = effect.statistic.replace("_", " ")
    return f"{name} {effect.difference:+.3g} [{low:+.3g}, {high:+.3g}]"
