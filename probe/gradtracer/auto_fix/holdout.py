"""The randomised control: which rows stay untreated, and what the others do better or worse.

Every row has its arm from the seed, the layer's name and its number alone, so that it keeps it in
every run with that seed. What is compared is all rows ever eligible, whether they still are or not
(a row that gets well under treatment must not leave its arm for it):

- `noise_energy`: log V of the row's gradient; lower is better;
- `update_efficiency`: for successive gradients a, b the squared length of a + b as a share of the
  largest possible for their energy, |a + b|^2 / (2 |a|^2 + 2 |b|^2) = (1 + agreement) / 2; higher
  is better;
- `example_loss`: mean loss of the examples that touch the row, where the loss is per example;
  lower is better.

Each is adjusted for the row's own value when it became eligible by one slope for both arms, which
takes out most of what differs between rows (Deng et al., WSDM 2013). Treated rows and held-out rows
meet in the same model, so what one arm does to the other is not seen.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradtracer.auto_fix.confidence_sequence import Array, Difference, difference
from gradtracer_schemas import MeasuredEffect

Rows = npt.NDArray[np.int64]

BETTER = {"noise_energy": -1, "update_efficiency": 1, "example_loss": -1}
"""Sign of an improvement."""
ALPHA = 0.05
"""Probability that any interval, of whichever statistic at whichever look, misses."""
_EXPOSURES = 16
"""Followed look-ups after which the moving moments are mostly of the time under treatment."""
_MEASURED = 65_536
_KEPT = (*BETTER, "loss_sum", "loss_count")
_GROWTH = 1.25
"""Ratio of the times of successive looks."""


class Outcomes(NamedTuple):
    """What some rows show now."""

    values: dict[str, Array]
    """By statistic `[R]`; NaN where there is none."""
    look_ups: Rows
    """`[R]` up to now."""
    losses: tuple[Array, Array] | None = None
    """`[R]` sums and numbers of the losses of their examples up to now."""


class Holdout:
    """Arms and measured effects of one table.

    Args:
        layer: its name, which the assignment depends on.
        rows: N.
        holdout: share held out, 0 to 1.
        seed: of the assignment.
    """

    def __init__(self, layer: str, rows: int, *, holdout: float, seed: int) -> None:
        self.holdout = holdout
        self._salt = zlib.crc32(layer.encode()) ^ (seed & 0xFFFFFFFFFFFF) << 16
        self._measured_share = min(1.0, _MEASURED / max(rows, 1))
        self.enrolled = np.zeros(rows, dtype=np.bool_)
        """`[N]` rows that were ever eligible."""
        self.looks = 0
        self.effects: list[MeasuredEffect] = []
        """Of the latest look."""
        self._next_look = 0.0
        self._began = 0
        self._rows = np.zeros(0, dtype=np.int64)
        self._look_ups = np.zeros(0, dtype=np.int64)
        self._base: dict[str, Array] = {name: np.zeros(0) for name in _KEPT}

    def held_out(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Whether each row is in the control arm."""
        return _uniform(rows, self._salt) < self.holdout

    @property
    def measured_rows(self) -> Rows:
        """Rows that are compared: all that are enrolled, of a large table a random 65,536."""
        return self._rows

    def enrol(self, rows: Rows) -> Rows:
        """Take in rows that are eligible for the first time; those of them that are measured."""
        self.enrolled[rows] = True
        return rows[_uniform(rows, self._salt ^ 0x5DEECE66D) < self._measured_share]

    def begin(self, rows: Rows, now: Outcomes, step: int) -> None:
        """Keep what the measured `rows` of `enrol` are like before they are treated."""
        if self._rows.size == 0:
            self._began, self._next_look = step, 0.0
        self._rows = np.concatenate([self._rows, rows])
        self._look_ups = np.concatenate([self._look_ups, now.look_ups])
        known = dict(now.values)
        if now.losses is not None:
            known["example_loss"] = _mean(*now.losses)
            known["loss_sum"], known["loss_count"] = now.losses
        for name, values in self._base.items():
            more = known.get(name, np.full(rows.size, np.nan))
            self._base[name] = np.concatenate([values, more])

    def look(self, now: Outcomes, step: int, *, interval: int) -> bool:
        """Compare the arms, when it is time to; whether it was and there were enough rows.

        Args:
            now: of `measured_rows`.
            step: of the training.
            interval: one in how many steps is followed.
        """
        if step - self._began < self._next_look:
            return False
        outcomes = dict(now.values)
        if now.losses is not None:
            sums, counts = now.losses
            since = sums - self._base["loss_sum"], counts - self._base["loss_count"]
            outcomes["example_loss"] = _mean(*since)
        ripe = now.look_ups - self._look_ups >= _EXPOSURES * interval
        held = self.held_out(self._rows)
        found: dict[str, Difference] = {}
        for name, values in outcomes.items():
            adjusted = _adjusted(values, self._base[name], ripe)
            one = difference(
                adjusted[~held], adjusted[held], alpha=ALPHA / len(BETTER), look=self.looks + 1
            )
            if one is not None:
                found[name] = one
        if not found:
            return False
        self.looks += 1
        self._next_look = _GROWTH * max(step - self._began, 1)
        self.effects = [
            MeasuredEffect(
                statistic=name,
                difference=one.value,
                interval=(one.low, one.high),
                level=1 - ALPHA,
                n_treated=one.n_treated,
                n_held_out=one.n_held_out,
            )
            for name, one in found.items()
        ]
        return True

    @property
    def harm(self) -> MeasuredEffect | None:
        """An effect whose interval lies on the wrong side of zero; None where there is none."""
        for effect in self.effects:
            worst = effect.interval[1] if BETTER[effect.statistic] > 0 else -effect.interval[0]
            if worst < 0:
                return effect
        return None

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to go on with the same arms and looks."""
        return {
            "enrolled": np.flatnonzero(self.enrolled).tolist(),
            "rows": self._rows.tolist(),
            "look_ups": self._look_ups.tolist(),
            "base": {name: values.tolist() for name, values in self._base.items()},
            "looks": self.looks,
            "next_look": self._next_look,
            "began": self._began,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        self.enrolled[:] = False
        self.enrolled[np.asarray(state["enrolled"], dtype=np.int64)] = True
        self._rows = np.asarray(state["rows"], dtype=np.int64)
        self._look_ups = np.asarray(state["look_ups"], dtype=np.int64)
        self._base = {name: np.asarray(state["base"][name], dtype=float) for name in _KEPT}
        self.looks, self._began = int(state["looks"]), int(state["began"])
        self._next_look = float(state["next_look"])


def _mean(sums: Array, counts: Array) -> Array:
    return np.divide(sums, counts, out=np.full(sums.size, np.nan), where=counts > 0)


def _adjusted(now: Array, base: Array, ripe: npt.NDArray[np.bool_]) -> Array:
    """`now` less what the rows' own beginnings explain, NaN where there is nothing to compare."""
    known = ripe & np.isfinite(now) & np.isfinite(base)
    adjusted = np.where(known, now, np.nan)
    if known.sum() > 2 and (spread := float(base[known].var())) > 0:
        centred = base[known] - base[known].mean()
        slope = float((centred * now[known]).mean()) / spread
        adjusted[known] -= slope * centred
    return adjusted


def _uniform(rows: Rows, salt: int) -> Array:
    """A number from 0 to 1 for each row (SplitMix64: Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64) + np.uint64(salt & 0xFFFFFFFFFFFFFFFF)
        x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53
