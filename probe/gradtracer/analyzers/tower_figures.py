"""Figures of towers, computed from a snapshot of their observer by the reporting thread."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.tower_observer import Snapshot
from gradtracer.statistics.log_mean import LogMean, log_mean
from gradtracer.statistics.tower_pace import LAGS, Correlation, correlation
from gradtracer_schemas import Observation

_Array = npt.NDArray[np.float64]


class Rival(NamedTuple):
    """Another tower, as one compares with it."""

    tower: str
    pace: LogMean
    """Its pace over this one's, over the later half of the bursts."""
    gradient: LogMean
    """Its gradient norm over this one's."""
    together: Correlation | None
    """Of the paces, less their mean over each burst."""
    gradients_together: Correlation | None


class TowerFigures(NamedTuple):
    """One report on a tower."""

    tower: str
    steps: int
    """Followed steps."""
    pace: LogMean
    """|dW| / |W| of a step, over the later half of the bursts."""
    gradient: LogMean
    rivals: tuple[Rival, ...]
    optimizer: OptimizerFacts | None = None
    """What its largest weight is optimized by."""
    path: str = ""
    """Dotted path of the module that it is; empty where it is several."""
    parallel: bool = True
    """The towers stand side by side, and can be compared."""

    @property
    def lr(self) -> float | None:
        """Learning rate of its largest weight."""
        return None if self.optimizer is None else self.optimizer.lr

    @property
    def fastest(self) -> Rival:
        """The tower that moves most."""
        return max(self.rivals, key=lambda rival: rival.pace.log)


def measure(snapshot: Snapshot, names: list[str]) -> list[TowerFigures]:
    """Figures of every tower; none before four bursts. Waits for the device."""
    pace = _stacked([burst.pace.cpu().numpy() for burst in snapshot.bursts], len(names))
    gradient = _stacked([burst.gradient.cpu().numpy() for burst in snapshot.bursts], len(names))
    products = snapshot.products
    if products is None or len(pace) < 4:
        return []
    first, last = snapshot.bursts[0].first, snapshot.bursts[-1].last
    began = np.array([burst.first for burst in snapshot.bursts])
    later = began >= min((first + last) / 2, float(began[-3]))
    sound = np.isfinite(pace).all(1) & np.isfinite(gradient).all(1) & later
    pace, gradient = pace[sound], gradient[sound]
    if len(pace) < 3:
        return []
    steps = int(products.steps)
    tables = (products.pace.cpu().numpy(), products.gradient.cpu().numpy())

    def rival(a: int, b: int) -> Rival:
        return Rival(
            names[b],
            _mean(pace[:, b] - pace[:, a]),
            _mean(gradient[:, b] - gradient[:, a]),
            *(correlation(table, a, b, steps, products.bursts) for table in tables),
        )

    others = [[b for b in range(len(names)) if b != a] for a in range(len(names))]
    return [
        TowerFigures(
            tower=name,
            steps=steps,
            pace=_mean(pace[:, a]),
            gradient=_mean(gradient[:, a]),
            rivals=tuple(rival(a, b) for b in others[a]),
        )
        for a, name in enumerate(names)
    ]


def observation(figures: TowerFigures, layer: str) -> Observation:
    """The figures by their wire names (PROTOCOL.md), against the tower that moves most."""
    rival = figures.fastest
    values: dict[str, float] = {"steps": float(figures.steps)}
    for name, mean in (
        ("update_ratio", figures.pace),
        ("grad_norm", figures.gradient),
        ("tower_pace_ratio", rival.pace),
        ("tower_gradient_ratio", rival.gradient),
    ):
        low, high = mean.interval
        values |= {name: mean.value, f"{name}_low": low, f"{name}_high": high}
    for name, found in (
        ("tower_correlation", rival.together),
        ("tower_gradient_correlation", rival.gradients_together),
    ):
        if found is not None:
            low, high = found.interval
            values |= {name: found.value, f"{name}_low": low, f"{name}_high": high}
            values[f"{name}_lag"] = found.lag
    kept = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    return Observation(layer=layer, values=kept)


def _stacked(rows: list[_Array], width: int) -> _Array:
    return np.stack(rows) if rows else np.empty((0, width))


def _mean(logs: _Array) -> LogMean:
    found = log_mean(float(logs.sum()), float((logs * logs).sum()), len(logs))
    assert found is not None
    return found


__all__ = ["LAGS", "Rival", "TowerFigures", "measure", "observation"]
