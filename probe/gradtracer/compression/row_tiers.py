"""Tables in tiers: the rows that the loss minds most in more bits than the others.

What a row's rounding costs is in proportion to how often it is looked up, where that was counted,
else to its Fisher information, which also knows of rows that are scored without a look-up. Both are
very unequal among a table's rows, so most of them can be rounded coarsely at little cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradtracer.compression.row_set import pack_rows
from gradtracer.compression.sensitivity import Sensitivity
from gradtracer_schemas import LayerRecipe, Quantization, Tier

_TIERS: tuple[tuple[float, Quantization, Quantization], ...] = (
    (0.5, "INT8", "INT4"),
    (0.98, "INT4", "INT2"),
    (0.95, "INT4", "INT2"),
    (0.9, "INT4", "INT2"),
    (0.8, "INT4", "INT2"),
)
"""Share of what is minded that the hot rows have, their format, and that of the others."""


def tiered(
    name: str, sensitivity: Sensitivity, formats: Sequence[Quantization]
) -> Iterator[LayerRecipe]:
    """Storage of a table in two tiers, for each share; none where no row is told from another.

    Args:
        name: Path of the table.
        sensitivity: Its look-ups `[N]` count, else its Fisher information `[N]`.
        formats: That may be used.
    """
    look_ups = sensitivity.look_ups.get(name)
    if look_ups is not None and look_ups.sum() > 0:
        minded: NDArray[Any] = look_ups
    else:
        look_ups, fisher = None, sensitivity.fisher.get(name)
        if fisher is None or not float(fisher.sum()) > 0:
            return
        minded = fisher.double().cpu().numpy()
    for share, hot, cold in _TIERS:
        if cold not in formats:
            continue
        chosen = hottest(minded, share)
        reached = None if look_ups is None else float(look_ups[chosen].sum() / look_ups.sum())
        tier = Tier(quantization=hot, rows=pack_rows(chosen), share_of_look_ups=reached)
        yield LayerRecipe(quantization=cold, tiers=[tier])


def hottest(minded: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """The fewest rows `[N]` bool that have `share` of what is minded, `[N]` not negative."""
    order = np.argsort(-minded, kind="stable")
    reached = np.cumsum(minded[order], dtype=np.float64)
    needed = int(np.searchsorted(reached, share * reached[-1])) + 1
    chosen = np.zeros(len(minded), dtype=bool)
    chosen[order[:needed]] = True
    return chosen
