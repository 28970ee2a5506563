"""REPRESENTATION_COLLAPSE: few of the dimensions are used (statistics/effective_rank.py)."""

from __future__ import annotations

import math
from typing import NamedTuple

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.diagnoses.weight_decay import reduce_decay, smaller_decay, written
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer

_MIN_ROWS_PER_DIM = 4
_MULTIPLE = 8
_GROWING = 1.05


def examine(figures: TableFigures, settings: Settings) -> Finding | None:
    """Raise when the effective rank is below its share of the rank of independent entries.

    A rank that is still growing is a young table's, not a collapsing one's: that stays silent.
    """
    rank = figures.rank
    if rank is None or figures.dim < 2 or rank.rows < _MIN_ROWS_PER_DIM * figures.dim:
        return None
    if figures.earlier_rank is not None and rank.value > _GROWING * figures.earlier_rank:
        return None
    limit = settings.collapse_share * rank.null
    confidence = 1.0 - probability_above(rank.value, rank.error, limit)
    if confidence < 0.95:
        return None
    narrower = narrower_dim(rank.interval[1], figures.dim)
    decay = _coupled_decay(figures)
    fixes = [suppress()]
    if narrower is not None:
        offer = FixOffer(
            fix="reduce-embedding-dim",
            parameters={"embedding_dim": narrower, "measured_dim": figures.dim},
            preferred=decay.offer is None,
        )
        fixes.insert(0, offer)
    if decay.offer is not None:
        fixes.insert(0, decay.offer)
    return Finding(
        type="REPRESENTATION_COLLAPSE",
        severity="warning",
        confidence=confidence,
        premise=(
            f"The rows in use span an effective rank of {rank.value:.1f} of {figures.dim} "
            f"dimensions; independent entries would span {rank.null:.1f}. "
            f"{_directions(rank.dim_99)} 99 % of the squared norm."
        ),
        implies=f"Most dimensions carry nothing that the others do not.{decay.cause}",
        action=decay.remedy
        + (
            f"Reduce embedding_dim to {narrower}."
            if narrower is not None
            else "Look at the loss: the table is narrow already."
        ),
        expected_effect=decay.effect
        + (
            f"With embedding_dim={narrower} the table is {figures.dim / narrower:.1f} times "
            "smaller; validate the ranking metric, which should hold or rise."
            if narrower is not None
            else "A rank that grows with training."
        ),
        risk="If training has only begun, the rank may still grow; tables in one dot product must "
        "keep equal widths.",
        evidence=[
            Evidence(
                statistic="effective_rank",
                value=rank.value,
                threshold=limit,
                comparison="below",
                n=rank.rows,
                unit="dimensions",
                interval=rank.interval,
                test="normal, delete-a-group jackknife over rows",
            )
        ],
        fixes=fixes,
    )


def _directions(count: int) -> str:
    return "One direction holds" if count == 1 else f"{count} directions hold"


class _Decay(NamedTuple):
    cause: str = ""
    remedy: str = ""
    effect: str = ""
    offer: FixOffer | None = None


def _coupled_decay(figures: TableFigures) -> _Decay:
    optimizer = figures.optimizer
    if optimizer is None or not optimizer.coupled or optimizer.weight_decay <= 0:
        return _Decay()
    setting = f"weight_decay={written(optimizer.weight_decay)}"
    return _Decay(
        cause=(
            f" {optimizer.name} adds {setting} to the gradient and divides by the gradient's own "
            "scale, so rows with small gradients are pulled to zero at nearly the full step."
        ),
        remedy=(
            f"First try weight_decay={written(smaller_decay(optimizer))}, or torch.optim.AdamW, "
            "which decouples it. If the rank stays low: "
        ),
        effect="With less decay the rank rises and rare rows keep what they learned. ",
        offer=reduce_decay(optimizer, preferred=True),
    )


def narrower_dim(rank_high: float, dim: int) -> int | None:
    """Smallest multiple of 8 that holds the rank's upper limit; None unless it saves a quarter."""
    narrower = math.ceil(rank_high / _MULTIPLE) * _MULTIPLE
    return narrower if narrower <= 0.75 * dim else None
