"""What each row of a table is worth to the loss, by how often it is needed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_TOP = 0.01
_MOST = 0.99
_BLOCK = 65_536


class SaliencyShares(NamedTuple):
    """How far the saliency of a table is gathered in few rows; of the rows whose saliency is known.

    Rows all alike: 0.01 and 0.99.
    """

    top: float
    """Share of the saliency that the top 1 % of the rows hold, one row at least."""
    rows_99: float
    """Smallest share of the rows that hold 99 % of it."""


def saliency(
    look_ups: npt.NDArray[np.integer],
    exposures: npt.NDArray[np.integer],
    energy: npt.NDArray[np.floating],
    squared_norm: npt.NDArray[np.floating],
    dim: int,
) -> npt.NDArray[np.float32]:
    """`[N]` S_i = n_i E_i |w_i|^2 / D: twice the estimated rise of the loss without the row.

    Setting the row w to zero changes the loss of a look-up by -g.w + w'Hw / 2 (LeCun, Denker and
    Solla, Optimal Brain Damage, NIPS 1989, eq. 1). The first term averages out where training has
    settled; with the Fisher information E[gg'] for H the second is E[(g.w)^2] / 2 (Theis et al.,
    Faster gaze prediction with dense networks and Fisher pruning, arXiv:1801.05787, 2018, "Fisher
    pruning"), which is the Taylor criterion |g.w| of Molchanov et al. (Pruning convolutional neural
    networks for resource efficient inference, ICLR 2017, sec. 2.2), squared. The direction of g is
    not kept; were each equally likely, E[(g.w)^2] = E|g|^2 |w|^2 / D. Summed over the row's n_i
    look-ups, as the loss is.

    In units of the loss squared, in whatever scale it has: it ranks rows of one table.

    Args:
        look_ups: `[N]` n, look-ups in all.
        exposures: `[N]` followed exposures; no E before the second.
        energy: `[N]` E, mean squared gradient norm of an example (see `noise_energy`).
        squared_norm: `[N]` |w|^2.
        dim: D.

    Returns:
        NaN for rows never followed, and where a figure is not finite.
    """
    found = np.full(look_ups.size, np.nan, dtype=np.float32)
    rows = np.flatnonzero(exposures > 1)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.multiply(look_ups[rows], energy[rows], dtype=np.float32)
        values *= squared_norm[rows]
        values /= dim
    values[~np.isfinite(values)] = np.nan
    found[rows] = values
    return found


def saliency_shares(found: npt.NDArray[np.float32]) -> SaliencyShares | None:
    """From `saliency`'s `[N]`. O(N log N). None where no row is known, or all are 0."""
    return sorted_shares(np.sort(found[~np.isnan(found)]))


def sorted_shares(known: npt.NDArray[np.float32]) -> SaliencyShares | None:
    """The same of the rows known, `[K]` ascending; a block at a time, without a copy."""
    total = float(known.sum(dtype=np.float64))
    if not known.size or total <= 0:
        return None
    top = int(np.ceil(_TOP * known.size))
    held, last = 0.0, known.size
    while True:
        block = np.cumsum(known[max(0, last - _BLOCK) : last][::-1], dtype=np.float64) + held
        last -= block.size
        held = float(block[-1])
        if held >= _MOST * total or last == 0:
            break
    within = int(np.searchsorted(block, _MOST * total))
    rows = min(known.size - last - block.size + within + 1, known.size)
    top_share = float(known[-top:].sum(dtype=np.float64)) / total
    return SaliencyShares(top_share, rows / known.size)
