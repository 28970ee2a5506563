"""Figures of a table, computed from its state by the reporting thread."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.table_state import TableState
from gradtracer.settings import Settings
from gradtracer.statistics.effective_rank import SAMPLE, EffectiveRank, effective_rank
from gradtracer.statistics.exposure import Halfway
from gradtracer.statistics.gini import Gini, exposure_entropy, gini, lorenz_curve
from gradtracer.statistics.movement import DriftShare, MovementTotals, drift_share
from gradtracer.statistics.saliency import saliency, saliency_shares
from gradtracer.statistics.staleness import StalenessQuantiles
from gradtracer.statistics.unseen import Unseen, unseen_rows
from gradtracer.statistics.zombie_rows import ZombieRows, zombie_rows
from gradtracer_schemas import Observation


class TableFigures(NamedTuple):
    """One report on a table. Row arrays exclude nothing; `padding_idx` counts as never seen."""

    layer: str
    rows: int
    """Rows that can be looked up: all but `padding_idx`."""
    dim: int
    steps: int
    """Tracked steps."""
    counts: npt.NDArray[np.integer]
    """`[N]` look-ups; 0 at `padding_idx`."""
    valid: npt.NDArray[np.bool_]
    """`[N]` false at `padding_idx`."""
    gini: Gini | None
    entropy: float
    unseen: Unseen
    rank: EffectiveRank | None
    zombies: ZombieRows
    noise_energy: float
    signal_share: npt.NDArray[np.float32]
    """`[N]` 1 - V/E, held to 0 to 1."""
    saliency: npt.NDArray[np.float32]
    """`[N]` as `statistics/saliency.py`; NaN where unknown, and at `padding_idx`."""
    velocity: float | None
    """Mean L2 norm of a touched row's update since the last report that saw one."""
    drift: DriftShare | None
    nonfinite_steps: int
    movement: MovementTotals
    first_nonfinite: int = -1
    """The run's step of the first of them; -1 where there was none."""
    layers_broke: int = -1
    """The step at which the gradient of a layer first was not finite; -1 where none is known of."""
    optimizer: OptimizerFacts | None = None
    trainable: bool = True
    auto_fix: bool = False
    """Whether the updates of zombie rows are shrunk already."""
    earlier_rank: float | None = None
    """Effective rank at the latest report before three quarters of the steps so far."""
    staleness: StalenessQuantiles | None = None

    @property
    def coverage(self) -> float:
        """Share of rows seen."""
        return 1.0 - self.unseen.unseen / self.rows if self.rows else 0.0


def measure(
    layer: str,
    state: TableState,
    weight: torch.Tensor,
    padding_idx: int | None,
    settings: Settings,
    *,
    halfway: Halfway | None = None,
    previous: MovementTotals | None = None,
) -> TableFigures:
    """Compute every figure. O(N log N) on the host; the table itself stays on its device.

    `halfway` is of the look-ups, `previous` of the last report that there was.
    """
    # Both are copies of what the training goes on counting.
    counts, exposures = state.counts, state.exposures
    valid = np.ones(counts.size, dtype=bool)
    if padding_idx is not None:
        counts[padding_idx] = exposures[padding_idx] = 0
        valid[padding_idx] = False
    squared_norm, dim = _squared_norm(weight), int(weight.shape[1])
    zombies = zombie_rows(
        counts,
        exposures,
        state.energy,
        state.noise,
        state.agreement,
        squared_norm,
        noise_fdr=settings.zombie_fdr,
        oscillation_fdr=settings.oscillation_fdr,
    )
    movement = state.movement
    followed = exposures > 1
    return TableFigures(
        layer=layer,
        rows=int(valid.sum()),
        dim=dim,
        steps=state.tracked_steps,
        counts=counts,
        valid=valid,
        gini=gini(counts),
        entropy=exposure_entropy(counts),
        unseen=unseen_rows(counts, halfway, valid=int(valid.sum())),
        rank=effective_rank(weight, _random_rows(counts, settings.seed, weight.device)),
        zombies=zombies,
        noise_energy=float(state.noise[followed].mean()) if followed.any() else 0.0,
        signal_share=_signal_share(state),
        saliency=saliency(counts, exposures, state.energy, squared_norm, dim),
        velocity=_velocity(movement, previous),
        drift=drift_share(movement),
        nonfinite_steps=state.nonfinite_steps,
        first_nonfinite=state.first_nonfinite,
        movement=movement,
    )


def observation(figures: TableFigures) -> Observation:
    """The figures by their wire names (PROTOCOL.md); those that are unknown are left out."""
    values: dict[str, float | None] = {
        "rows": figures.rows,
        "dim": figures.dim,
        "steps": figures.steps,
        "exposures": figures.unseen.look_ups,
        "coverage": figures.coverage,
        "seen_rows": figures.rows - figures.unseen.unseen,
        "unseen_rows": figures.unseen.unseen,
        "dead_rows": figures.unseen.dead,
        "entropy": figures.entropy,
        "update_velocity": figures.velocity,
        "zombie_rows": figures.zombies.rows.size,
        "unknown_rows": figures.zombies.unknown,
        "grad_nonfinite": figures.nonfinite_steps,
    }
    if figures.zombies.tested:
        values["oscillation"] = figures.zombies.mean_rho
        values["noise_energy"] = figures.noise_energy
    if figures.gini is not None:
        g = figures.gini
        values |= {
            "gini": g.value,
            "gini_low": max(0.0, g.value - 1.96 * g.error),
            "gini_high": min(1.0, g.value + 1.96 * g.error),
        }
    if figures.rank is not None:
        low, high = figures.rank.interval
        values |= {
            "effective_rank": figures.rank.value,
            "effective_rank_low": low,
            "effective_rank_high": high,
        }
    if figures.drift is not None:
        values["drift_share"] = figures.drift.value
    shares = saliency_shares(figures.saliency)
    if shares is not None:
        values |= {"saliency_top_share": shares.top, "saliency_rows_99": shares.rows_99}
    if figures.staleness is not None:
        values |= {
            "staleness_median": figures.staleness.median,
            "staleness_p95": figures.staleness.p95,
        }
    kept = {
        name: float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }
    return Observation(
        layer=figures.layer, values=kept, curves={"lorenz": lorenz_curve(figures.counts)}
    )


def _signal_share(state: TableState) -> npt.NDArray[np.float32]:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.divide(state.noise, state.energy, dtype=np.float32)
    np.subtract(1.0, share, out=share)
    share[~(state.energy > 0)] = 0.0
    return np.clip(share, 0.0, 1.0, out=share)


def _squared_norm(weight: torch.Tensor) -> npt.NDArray[np.floating]:
    # One pass without a temporary of the table's size.
    wide = torch.promote_types(weight.dtype, torch.float32)
    norm = torch.linalg.vector_norm(weight.detach(), dim=1, dtype=wide)
    return norm.square_().cpu().numpy()


def _random_rows(counts: npt.NDArray[np.integer], seed: int, device: torch.device) -> torch.Tensor:
    random = np.random.default_rng(seed)
    rows = np.zeros(0, dtype=np.int64)
    if counts.size > 64 * SAMPLE:
        # Few draws find enough in a table that is mostly seen, without a list of all its rows.
        drawn = np.unique(random.integers(counts.size, size=4 * SAMPLE))
        rows = drawn[counts[drawn] > 0]
    if rows.size < SAMPLE:
        rows = np.flatnonzero(counts)
    return torch.from_numpy(random.permutation(rows)[:SAMPLE]).to(device)


def _velocity(now: MovementTotals, previous: MovementTotals | None) -> float | None:
    if previous is not None and now.rows > previous.rows:
        return (now.path - previous.path) / (now.rows - previous.rows)
    # No tracked step since then: the mean over the whole run.
    return now.path / now.rows if now.rows > 0 else None
