"""Figures of a table for an examiner, each from the statistic that really makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.analyzers.table_rows import TableRows, rows_of
from gradtracer.analyzers.table_state import TableState
from gradtracer.statistics.effective_rank import effective_rank
from gradtracer.statistics.exposure import Halfway
from gradtracer.statistics.gini import exposure_entropy, gini
from gradtracer.statistics.look_up_spectrum import spectrum_of
from gradtracer.statistics.movement import MovementTotals
from gradtracer.statistics.unseen import unseen_rows
from gradtracer.statistics.zombie_rows import ZombieRows

MakeFigures = Callable[..., TableFigures]


def table_of(counts: np.ndarray, padding_idx: int | None) -> TableRows:
    """Rows that were counted and never followed."""
    nothing = np.zeros(counts.size, dtype=np.float32)
    still = MovementTotals(*[0.0] * 8)
    never = np.zeros(counts.size, dtype=np.int16)
    return rows_of(TableState(counts, never, nothing, nothing, nothing, still, 0, 0), padding_idx)


def figures(
    counts: list[int] | np.ndarray | None = None,
    weight: torch.Tensor | None = None,
    halfway: Halfway | None = None,
    padding_idx: int | None = None,
    **others: Any,
) -> TableFigures:
    seen = np.full(100, 10) if counts is None else np.asarray(counts)
    nobody = np.zeros(0, dtype=np.int64)
    made = TableFigures(
        layer="item_emb",
        rows=int(seen.size),
        dim=4 if weight is None else int(weight.shape[1]),
        steps=100,
        table=table_of(seen, padding_idx),
        spectrum=spectrum_of(seen),
        gini=gini(seen),
        entropy=exposure_entropy(seen),
        unseen=unseen_rows(seen, halfway, valid=seen.size - (padding_idx is not None)),
        rank=None if weight is None else effective_rank(weight, torch.arange(weight.shape[0])),
        zombies=ZombieRows(nobody, nobody.astype(float), nobody.astype(bool), 0, 0, 0.0),
        noise_energy=0.0,
        saliency_shares=None,
        velocity=None,
        drift=None,
        nonfinite_steps=0,
        movement=MovementTotals(*[0.0] * 8),
    )
    return made._replace(**others)


@pytest.fixture
def make_figures() -> MakeFigures:
    return figures
