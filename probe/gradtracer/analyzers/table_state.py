"""What is known of a table, on the host: read from an observer, sent between ranks, merged."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.statistics.exposure import INT32_MAX, next_note
from gradtracer.statistics.movement import MovementTotals

_LIMIT = 40
"""Exposures are counted to about here (`statistics/exposure_clock.py`)."""


class TableState(NamedTuple):
    """State of one process, or of all ranks of a training; arrays `[N]`, or of some rows alone."""

    counts: npt.NDArray[np.integer]
    """Look-ups, exact up to the last optimizer step."""
    exposures: npt.NDArray[np.int16]
    """Followed exposures, as `NoiseEnergy.exposures`."""
    energy: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    agreement: npt.NDArray[np.float32]
    movement: MovementTotals
    tracked_steps: int
    nonfinite_steps: int
    first_nonfinite: int = -1
    """The run's step of the first of them; -1 where there was none."""

    def part(self, first: int, last: int) -> TableState:
        """Of the rows from `first` up to `last`; views."""
        return self._replace(
            counts=self.counts[first:last],
            exposures=self.exposures[first:last],
            energy=self.energy[first:last],
            noise=self.noise[first:last],
            agreement=self.agreement[first:last],
        )


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    rows: int
    counts: bytes
    exposures: bytes
    averages: bytes
    movement: list[float]
    tracked_steps: int
    nonfinite_steps: int


def read_state(observer: TableObserver, first: int = 0, last: int | None = None) -> TableState:
    """An observer's state of these rows on the host, from any thread; the training does not wait.

    Copies; rows that the training touches meanwhile may be a step apart.
    """
    noise = observer.noise
    return TableState(
        counts=observer.counts_now(first, last).cpu().numpy(),
        exposures=noise.exposures_of(first, last).cpu().numpy(),
        energy=noise.energy[first:last].float().cpu().numpy(),
        noise=noise.noise[first:last].float().cpu().numpy(),
        agreement=noise.agreement[first:last].float().cpu().numpy(),
        movement=observer.movement.totals(),
        tracked_steps=observer.tracked_steps,
        nonfinite_steps=int(observer.nonfinite_steps),
        first_nonfinite=int(observer.first_nonfinite),
    )


def merge_states(own: TableState, others: Sequence[TableState]) -> TableState:
    """The table as all ranks saw it.

    Look-ups add up. A row's averages are weighed by the pairs of exposures behind them. The weights
    of replicas move alike, so movement of rows outside the batch is taken from `own`; the sums over
    batch rows add up. States of a table with another number of rows are left out.
    """
    others = [other for other in others if other.counts.size == own.counts.size]
    if not others:
        return own
    every = [own, *others]
    pairs = [np.maximum(state.exposures.astype(np.float32) - 1, 0) for state in every]
    whole = np.maximum(np.sum(pairs, axis=0), 1.0)

    def mean(name: str) -> npt.NDArray[np.float32]:
        terms = (p * getattr(s, name) for p, s in zip(pairs, every, strict=True))
        return np.asarray(sum(terms) / whole, dtype=np.float32)

    return TableState(
        counts=np.stack([state.counts for state in every]).sum(axis=0, dtype=np.int64),
        exposures=np.minimum(np.sum([s.exposures for s in every], axis=0), _LIMIT).astype(np.int16),
        energy=mean("energy"),
        noise=mean("noise"),
        agreement=mean("agreement"),
        movement=own.movement._replace(
            path=sum(state.movement.path for state in every),
            rows=sum(state.movement.rows for state in every),
        ),
        tracked_steps=own.tracked_steps,
        # Gradients are averaged over ranks before the step: all see the same one.
        nonfinite_steps=max(state.nonfinite_steps for state in every),
        first_nonfinite=own.first_nonfinite,
    )


def exposure_of_all(
    own: dict[str, Any], others: Sequence[TableState], notes: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """`Exposure.state_dict` of one rank with what the `others` counted.

    `notes` are those of the whole: look-ups and rows seen at each report.
    """
    counts = torch.as_tensor(own["counts"]).long()
    for other in others:
        if other.counts.size == counts.numel():
            counts += torch.from_numpy(other.counts.astype(np.int64)).to(counts.device)
    total = int(counts.sum())
    return {
        "counts": counts.int() if total <= INT32_MAX else counts,
        "total": total,
        "notes": list(notes),
        "next_note": next_note(total),
    }


def pack_state(state: TableState) -> bytes:
    """For another rank: about 11 bytes a row before compression, averages to three digits."""
    averages = np.stack([state.energy, state.noise, state.agreement])
    return msgspec.msgpack.encode(
        _Packed(
            rows=state.counts.size,
            counts=_squeezed(state.counts.astype("<i8")),
            exposures=_squeezed(state.exposures.astype("<i2")),
            # bfloat16: float16 has not the range of a squared gradient.
            averages=_squeezed((averages.view(np.uint32) >> 16).astype("<u2")),
            movement=list(state.movement),
            tracked_steps=state.tracked_steps,
            nonfinite_steps=state.nonfinite_steps,
        )
    )


def unpack_state(packed: bytes) -> TableState:
    """The reverse. Raises ValueError on anything else."""
    try:
        found = msgspec.msgpack.decode(packed, type=_Packed)
        wide = np.frombuffer(zlib.decompress(found.averages), "<u2").astype(np.uint32) << 16
        energy, noise, agreement = wide.view(np.float32).reshape(3, found.rows)
        return TableState(
            counts=np.frombuffer(zlib.decompress(found.counts), "<i8").astype(np.int64),
            exposures=np.frombuffer(zlib.decompress(found.exposures), "<i2").astype(np.int16),
            energy=energy,
            noise=noise,
            agreement=agreement,
            movement=MovementTotals(*found.movement),
            tracked_steps=found.tracked_steps,
            nonfinite_steps=found.nonfinite_steps,
        )
    except (msgspec.MsgspecError, zlib.error, TypeError) as error:
        raise ValueError(f"expected the packed state of a table, got {error}") from None


def _squeezed(array: npt.NDArray[Any]) -> bytes:
    return zlib.compress(array.tobytes(), level=1)
