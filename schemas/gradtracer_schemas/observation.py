"""What the probe measured on a layer, as numbers."""

from __future__ import annotations

import msgspec


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The latest figures of one layer. A newer one replaces an older one."""

    layer: str
    """Dotted path of the layer."""
    values: dict[str, float] = {}
    """Statistic name to value; a value that is not finite is left out. Names: PROTOCOL.md."""
    curves: dict[str, list[float]] = {}
    """Short series (at most 64 points) for plots, e.g. `lorenz`."""
