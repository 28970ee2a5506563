"""Figures of a table, computed from its state by the reporting thread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.table_rows import RowBlock, TableRows
from gradtracer.settings import Settings
from gradtracer.statistics.effective_rank import SAMPLE, EffectiveRank, effective_rank
from gradtracer.statistics.exposure import INT32_MAX, Halfway
from gradtracer.statistics.gini import Gini, exposure_entropy, gini, lorenz_curve
from gradtracer.statistics.look_up_spectrum import LookUpSpectrum, look_up_spectrum
from gradtracer.statistics.movement import DriftShare, MovementTotals, drift_share
from gradtracer.statistics.peers import Followed
from gradtracer.statistics.saliency import SaliencyShares, saliency, sorted_shares
from gradtracer.statistics.staleness import StalenessQuantiles
from gradtracer.statistics.unseen import Unseen, unseen_rows
from gradtracer.statistics.zombie_rows import MIN_EXPOSURES, ZombieRows, zombie_rows
from gradtracer.unregistered import Holder
from gradtracer_schemas import Observation

_GATHERED = 2_048
"""Rows that are copied at once."""


class TableFigures(NamedTuple):
    """One report on a table; `padding_idx` counts as never seen.

    What is of single rows is not kept: it is read again when it is asked for, as it is then.
    """

    layer: str
    rows: int
    """Rows that can be looked up: all but `padding_idx`."""
    dim: int
    steps: int
    """Tracked steps."""
    table: TableRows
    spectrum: LookUpSpectrum
    """How many rows have each number of look-ups."""
    gini: Gini | None
    entropy: float
    unseen: Unseen
    rank: EffectiveRank | None
    zombies: ZombieRows
    noise_energy: float
    saliency_shares: SaliencyShares | None
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
    unheld: int = 0
    """Steps whose gradients reached the table, which has no optimizer and its first values."""
    kept_in: Holder | None = None
    """The plain list or dict that holds it, where PyTorch does not know of it."""
    auto_fix: bool = False
    """Whether the updates of zombie rows are shrunk already."""
    earlier_rank: float | None = None
    """Effective rank at the latest report before three quarters of the steps so far."""
    staleness: StalenessQuantiles | None = None

    @property
    def coverage(self) -> float:
        """Share of rows seen."""
        return 1.0 - self.unseen.unseen / self.rows if self.rows else 0.0

    @property
    def counts(self) -> npt.NDArray[np.integer]:
        """`[N]` look-ups; 0 at `padding_idx`."""
        return self.table.look_ups.all()

    @property
    def never_seen(self) -> npt.NDArray[np.int64]:
        """Rows that can be looked up and never were."""
        return self.table.look_ups.none_of(self.table.size)


def measure(
    layer: str,
    table: TableRows,
    weight: torch.Tensor,
    settings: Settings,
    *,
    halfway: Halfway | None = None,
    previous: MovementTotals | None = None,
) -> TableFigures:
    """Compute every figure. O(N log N) on the host; the table itself stays on its device.

    Beyond what is kept of the table it takes the memory of a block of rows, 4 bytes for each row
    that was followed twice, and for the test for zombies a sample of the rows.
    `halfway` is of the look-ups, `previous` of the last report that there was.
    """
    spectrum = look_up_spectrum(table.look_ups.blocks())
    totals, dim = table.totals, int(weight.shape[1])
    rows = table.size - (table.padding_idx is not None)
    energy = _energy(table, weight)
    movement = totals.movement
    return TableFigures(
        layer=layer,
        rows=rows,
        dim=dim,
        steps=totals.tracked_steps,
        table=table,
        spectrum=spectrum,
        gini=gini(spectrum),
        entropy=exposure_entropy(spectrum),
        unseen=unseen_rows(spectrum, halfway, valid=rows),
        rank=effective_rank(weight, _random_rows(table, settings.seed, weight.device)),
        zombies=_zombies(table, weight, settings),
        noise_energy=energy.noise,
        saliency_shares=energy.shares,
        velocity=_velocity(movement, previous),
        drift=drift_share(movement),
        nonfinite_steps=totals.nonfinite_steps,
        first_nonfinite=totals.first_nonfinite,
        movement=movement,
    )


def row_saliency(table: TableRows, weight: torch.Tensor) -> npt.NDArray[np.float32]:
    """`[N]` as `statistics/saliency.py`; NaN where unknown, and at `padding_idx`."""
    found = np.full(table.size, np.nan, dtype=np.float32)
    for _, block in table.followed():
        found[block.rows] = _saliency(block, weight)
    return found


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
    shares = figures.saliency_shares
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
        layer=figures.layer, values=kept, curves={"lorenz": lorenz_curve(figures.spectrum)}
    )


class _Energy(NamedTuple):
    """Of the rows followed twice."""

    noise: float
    """Mean V; 0 where there is none."""
    shares: SaliencyShares | None


def _energy(table: TableRows, weight: torch.Tensor) -> _Energy:
    # Pages of it that are not written to take no memory.
    values = np.empty(table.size, dtype=np.float32)
    known, followed, noise = 0, 0, 0.0
    for _, block in table.followed():
        followed, noise = followed + block.rows.size, noise + block.noise.sum(dtype=np.float64)
        each = _saliency(block, weight)
        each = each[~np.isnan(each)]
        values[known : known + each.size] = each
        known += each.size
    values = values[:known]
    values.sort()
    return _Energy(float(noise / followed) if followed else 0.0, sorted_shares(values))


def _saliency(block: RowBlock, weight: torch.Tensor) -> npt.NDArray[np.float32]:
    norm = _squared_norm(weight, block.rows)
    return saliency(block.counts, block.exposures, block.energy, norm, int(weight.shape[1]))


def _zombies(table: TableRows, weight: torch.Tensor, settings: Settings) -> ZombieRows:
    """The test over the rows that are ready for it, numbered as in the table."""
    exposed = 0

    def blocks() -> Iterator[Followed]:
        nonlocal exposed
        exposed = 0
        for seen, block in table.followed():
            exposed += seen
            ready = block.of(np.flatnonzero(block.exposures >= MIN_EXPOSURES))
            yield Followed(*ready, _squared_norm(weight, ready.rows))

    found = zombie_rows(
        blocks,
        columns=int(weight.shape[1]),
        noise_fdr=settings.zombie_fdr,
        oscillation_fdr=settings.oscillation_fdr,
        seed=settings.seed,
    )
    return found._replace(unknown=exposed - found.tested)


def _squared_norm(weight: torch.Tensor, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
    """`[R]` |w|^2 of ascending `rows`, some thousands of which are looked at together."""
    wide = torch.promote_types(weight.dtype, torch.float32)
    found = torch.empty(rows.size, dtype=wide, device="cpu")
    if not rows.size:
        return found.numpy()
    at = torch.from_numpy(rows).to(weight.device)
    for part, place in zip(found.split(_GATHERED), at.split(_GATHERED), strict=True):
        # Where most of a stretch is asked for there is no need to copy it.
        first, last = int(place[0]), int(place[-1]) + 1
        dense = last - first <= 2 * place.numel()
        chosen = weight[first:last] if dense else weight.index_select(0, place)
        norm = torch.linalg.vector_norm(chosen.detach(), dim=1, dtype=wide).square_()
        part.copy_(norm.index_select(0, place - first) if dense else norm)
    return found.numpy()


def _random_rows(table: TableRows, seed: int, device: torch.device) -> torch.Tensor:
    random = np.random.default_rng(seed)
    rows = np.zeros(0, dtype=np.int64)
    if table.size > 64 * SAMPLE:
        # Few draws find enough in a table that is mostly seen, without a list of all its rows.
        drawn = np.unique(random.integers(table.size, size=4 * SAMPLE))
        rows = drawn[table.look_ups[drawn] > 0]
    if rows.size < SAMPLE:
        rows = _seen_rows(table)
    return torch.from_numpy(random.permutation(rows)[:SAMPLE].astype(np.int64)).to(device)


def _seen_rows(table: TableRows) -> npt.NDArray[np.integer]:
    """Their numbers, in 4 bytes where that is enough."""
    narrow = np.int32 if table.size <= INT32_MAX else np.int64
    first, seen = 0, list[npt.NDArray[np.integer]]()
    for counts in table.look_ups.blocks():
        seen.append((np.flatnonzero(counts) + first).astype(narrow))
        first += counts.size
    return np.concatenate(seen)


def _velocity(now: MovementTotals, previous: MovementTotals | None) -> float | None:
    if previous is not None and now.rows > previous.rows:
        return (now.path - previous.path) / (now.rows - previous.rows)
    # No tracked step since then: the mean over the whole run.
    return now.path / now.rows if now.rows > 0 else None
