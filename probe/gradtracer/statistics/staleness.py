"""How long ago the rows of a table were last looked up, from counts alone.

A time of the last look-up for each row would be 4 bytes a row beside the 28 that there are, and a
scatter in the training's thread. The counts of two reports tell nearly as much, at no cost there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

SAMPLE = 16_384


class RowCounts(Protocol):
    """Look-ups of each row: an array `[N]`, or what reads them."""

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[np.integer]:
        """`[R]` of `rows`."""
        ...


class StalenessQuantiles(NamedTuple):
    """Of the rows seen, in steps since the last look-up; 0 for a row of the latest step."""

    median: float
    p95: float


class _Seen(NamedTuple):
    """Of the sample's rows at the last report; replaced as one, so that any thread may read it."""

    counts: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    """Step of the last look-up."""
    step: int


class Staleness:
    """Last look-ups of a table's rows, or of 16,384 draws from them, on the host.

    Whether a row was looked up between two reports is known exactly, when in between is not. Of k
    look-ups spread evenly over L steps the last one falls on step ceil(L U^(1/k)), U uniform: the
    largest of k (David and Nagaraja, Order Statistics, 2003, sec. 2.1). One U is drawn for each row
    (imputation), so that quantiles over rows are those of the mixture of these laws. Exact where a
    report falls on every step. Several look-ups of a row in one step are taken for independent
    ones, which makes the rows of the latest interval look fresher than they are.
    """

    def __init__(self, rows: int, seed: int, *, step: int = 0) -> None:
        random = np.random.default_rng(seed)
        sample = random.integers(rows, size=SAMPLE) if rows > SAMPLE else np.arange(rows)
        self._rows: npt.NDArray[np.int64] = sample
        nothing = np.zeros(sample.size, dtype=np.int64)
        self._seen = _Seen(nothing, nothing, step)

    def observe(self, counts: RowCounts, step: int) -> StalenessQuantiles | None:
        """Take in a report's `counts`, `[N]` look-ups after `step` steps.

        Of several ranks these are the sums: a row is as stale as where it was seen last. None where
        no row was seen, or before the first step.
        """
        before, now = self._seen, counts[self._rows].astype(np.int64)
        fresh = np.flatnonzero(now > before.counts)
        latest = 1.0 - np.random.default_rng(step).random(fresh.size)
        latest **= 1.0 / (now[fresh] - before.counts[fresh])
        last = before.last.copy()
        last[fresh] = before.step + np.ceil(max(0, step - before.step) * latest)
        self._seen = _Seen(now, last, step)
        if step == 0 or not now.any():
            return None
        median, p95 = np.quantile(step - last[now > 0], [0.5, 0.95])
        return StalenessQuantiles(float(median), float(p95))

    def state_dict(self) -> dict[str, Any]:
        """What a later process needs to go on; tensors are copies."""
        seen = self._seen
        return {
            "rows": torch.from_numpy(self._rows.copy()),
            "counts": torch.from_numpy(seen.counts.copy()),
            "last": torch.from_numpy(seen.last.copy()),
            "step": seen.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises KeyError."""
        rows, counts, last = (
            torch.as_tensor(state[name]).cpu().numpy().copy() for name in ("rows", "counts", "last")
        )
        self._rows, self._seen = rows, _Seen(counts, last, int(state["step"]))
