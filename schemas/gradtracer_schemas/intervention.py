"""What the probe changed in a running training, and what came of it."""

from __future__ import annotations

from typing import Annotated

import msgspec


class MeasuredEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Difference between the treated rows and the held-out rows of the same run."""

    statistic: str
    """What was compared."""
    difference: float
    """Treated minus held out."""
    interval: tuple[float, float]
    """Interval of `difference` at `level`."""
    level: float
    """Level of the interval."""
    n_treated: int
    """Rows in the treated arm."""
    n_held_out: int
    """Rows in the control arm."""


class Intervention(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the set of rows whose updates are scaled."""

    layer: str
    """Dotted path of the layer."""
    action: str
    """`shrink-updates` while it acts, `stop` when it ends."""
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
    """Measured effect; absent until measured."""
