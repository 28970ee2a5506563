"""Which rows auto-fix shrinks and by how much, what it measures of them, and why, in words.

All of it from the table's state and the settings alone, which makes a decision one that can be
made again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.table_state import TableState
from gradtracer.auto_fix.example_loss import ExampleLoss
from gradtracer.auto_fix.gate import Verdict
from gradtracer.auto_fix.holdout import Holdout, Outcomes, Rows
from gradtracer.auto_fix.hook import UNTOUCHED, Way
from gradtracer.auto_fix.posterior import levels, ready_rows, signal_share
from gradtracer.settings import Settings
from gradtracer.statistics.peers import Followed
from gradtracer.statistics.zombie_rows import zombie_rows

_COARSE = 16
"""A factor is left as it is until it should change by a sixteenth."""


def eligible_rows(state: TableState, weight: torch.Tensor, settings: Settings) -> Rows:
    """The rows, in order, that may be treated: those named, or all that are known well enough.

    `weight` `[N, D]` is read for the norms of its rows; waits for its device.
    """
    if settings.auto_fix_rows == "all":
        return np.flatnonzero(ready_rows(state.exposures, state.energy, state.noise))
    wide = torch.promote_types(weight.dtype, torch.float32)
    norm = torch.linalg.vector_norm(weight.detach(), dim=1, dtype=wide).square_()
    averages = state.energy, state.noise, state.agreement
    rows = np.arange(state.counts.size)
    table = Followed(rows, state.counts, state.exposures, *averages, norm.cpu().numpy())
    return np.sort(
        zombie_rows(
            lambda: [table],
            columns=int(weight.shape[1]),
            noise_fdr=settings.zombie_fdr,
            oscillation_fdr=settings.oscillation_fdr,
            seed=settings.seed,
        ).rows
    )


def outcomes_of(rows: Rows, state: TableState, losses: ExampleLoss | None) -> Outcomes:
    """What treated rows and those held out are compared by; -inf for a noise of zero."""
    with np.errstate(divide="ignore"):
        noise = np.log(state.noise[rows].astype(np.float64))
    efficiency = 0.5 + 0.5 * state.agreement[rows].astype(np.float64)
    return Outcomes(
        {"noise_energy": noise, "update_efficiency": efficiency},
        state.counts[rows].astype(np.int64),
        None if losses is None else losses.totals(rows),
    )


def wanted_levels(
    state: TableState, holdout: Holdout, now: npt.NDArray[np.uint8], floor: float
) -> npt.NDArray[np.uint8]:
    """`[N]` factors, as levels of `hook.py`: the posterior's for rows enrolled and not held out.

    `now`: those that hold, which stay where the change would be small.
    """
    enrolled = np.flatnonzero(holdout.enrolled)
    treated = enrolled[~holdout.held_out(enrolled)]
    share = signal_share(state.counts, state.exposures, state.energy, state.noise)
    wanted = np.full_like(now, UNTOUCHED)
    wanted[treated] = levels(share[treated], floor)
    near = np.abs(wanted.astype(np.int16) - now) < _COARSE
    return np.where(near, now, wanted)


def reason_of(settings: Settings, eligible: int, verdict: Verdict, way: Way, treated: int) -> str:
    """Why as many rows are treated as are, of so many that may be."""
    named = settings.auto_fix_rows == "named"
    parts = [
        f"ZOMBIE_EMBEDDINGS names {eligible:,} rows"
        if named
        else f"{eligible:,} rows are known well enough",
        verdict.reason,
    ]
    if way.reason:
        parts.append(way.reason)
    if settings.auto_fix_holdout == 0:
        parts.append("nothing is held out, so that its effect is not measured")
    elif settings.auto_fix_holdout == 1 and not treated:
        parts.append("all rows are held out, so that nothing is treated")
    return "; ".join(parts)
