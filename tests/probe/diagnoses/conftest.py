"""Figures of a table for an examiner, each from the statistic that really makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.statistics.effective_rank import effective_rank
from gradtracer.statistics.exposure import Halfway
from gradtracer.statistics.gini import exposure_entropy, gini
from gradtracer.statistics.movement import MovementTotals
from gradtracer.statistics.unseen import unseen_rows
from gradtracer.statistics.zombie_rows import ZombieRows

MakeFigures = Callable[..., TableFigures]


def figures(
    counts: list[int] | np.ndarray | None = None,
    weight: torch.Tensor | None = None,
    halfway: Halfway | None = None,
    **others: Any,
) -> TableFigures:
    seen = np.full(100, 10) if counts is None else np.asarray(counts)
    nobody = np.zeros(0, dtype=np.int64)
    made = TableFigures(
        layer="item_emb",
        rows=int(seen.size),
        dim=4 if weight is None else int(weight.shape[1]),
        steps=100,
        counts=seen,
        valid=np.ones(seen.size, dtype=bool),
        gini=gini(seen),
        entropy=exposure_entropy(seen),
        unseen=unseen_rows(seen, halfway),
        rank=None if weight is None else effective_rank(weight, torch.arange(weight.shape[0])),
        zombies=ZombieRows(nobody, nobody.astype(float), nobody.astype(bool), 0, 0, 0.0),
        noise_energy=0.0,
        signal_share=np.zeros(seen.size),
        saliency=np.full(seen.size, np.nan, dtype=np.float32),
        velocity=None,
        drift=None,
        nonfinite_steps=0,
        movement=MovementTotals(*[0.0] * 8),
    )
    return made._replace(**others)


@pytest.fixture
def make_figures() -> MakeFigures:
    return figures
