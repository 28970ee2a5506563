"""Shrink the updates of named rows, with a held-out share left alone as control.

The factor of a row is its signal share, 1 - V/E, the part of its gradient's energy that is not
noise, held above a floor. It multiplies the row's *update* around `optimizer.step`: optimizers that
divide by the gradient's own scale (Adam, RMSprop, Adagrad) would undo a scaled gradient. No
gradient is written, so nothing that shares it is touched. The effect is not measured yet: the
control arm is kept so that it can be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.analyzers.table_observer import Treatment

_FLOOR = 0.1


class Arms(NamedTuple):
    """Eligible rows, split."""

    treated: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]
    scales: npt.NDArray[np.float64]
    """Factor of each treated row, 0.1 to 1."""


def split_arms(figures: TableFigures, *, holdout: float, seed: int) -> Arms:
    """Assign every named row to an arm; a row keeps its arm whenever it is named again."""
    named = np.sort(figures.zombies.rows)
    draw = np.random.default_rng(seed).random(figures.counts.size)
    control = draw[named] < holdout
    treated = named[~control]
    scales = np.maximum(figures.signal_share[treated], _FLOOR)
    return Arms(treated, named[control], scales)


def treatment(arms: Arms, weight: torch.Tensor) -> Treatment | None:
    """The arms as the observer applies them; None when no row is treated."""
    if arms.treated.size == 0:
        return None
    return Treatment(
        torch.from_numpy(arms.treated).to(weight.device),
        torch.from_numpy(arms.scales).to(weight.device, weight.dtype).unsqueeze(1),
    )
