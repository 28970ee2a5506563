"""A line of `.gradtracer/audit.jsonl`: what auto-fix did to which rows."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence

import msgspec

from gradtracer_schemas.intervention import MeasuredEffect

MAX_LEVELS = 1 << 30
"""Rows of the largest table whose levels are read."""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One intervention. Written by the probe, read by `gradtracer audit`."""

    timestamp: str
    """When, ISO 8601."""
    run_id: str
    """Run that it belongs to."""
    step: int
    """Optimizer steps of the run when it was decided; it holds from the next one on."""
    layer: str
    """Dotted path of the table."""
    type: str = ""
    """Kind of intervention: `shrink-updates`, or what the writer calls it."""
    action: str = ""
    """As in the `intervention` event: `shrink-updates`, `wait`, `stop`."""
    num_affected: int = 0
    """Rows whose factor this line sets."""
    scale_applied: float = 1.0
    """Mean factor of those rows."""
    indices_sample: list[int] = []
    """The first 10 of them."""
    rows: str = ""
    """All of them, ascending, as `3-5,9`. Those not named keep the factor they had."""
    levels: str = ""
    """A byte for each of `rows`, 255 times its factor: deflated (zlib), in base64."""
    held_out: str = ""
    """Rows newly assigned to the control arm, as `rows`."""
    held_out_rows: int = 0
    """Rows in the control arm altogether."""
    treated_rows: int = 0
    """Rows in the treated arm altogether."""
    treated_scale: float = 1.0
    """Mean factor of all of those."""
    holdout: float = 0.0
    """Share of eligible rows assigned to the control arm."""
    seed: int = 0
    """Seed of the assignment."""
    code_version: str = ""
    """Version of gradtracer that did it."""
    reason: str = ""
    """Why, in a sentence."""
    effects: list[MeasuredEffect] = []
    """Measured so far."""


def pack_rows(rows: Iterable[int]) -> str:
    """`[3, 4, 5, 9]` as `3-5,9`; to be ascending."""
    parts: list[str] = []
    first = last = -1
    for row in [*rows, None]:
        if row is not None and last >= 0 and row == last + 1:
            last = row
            continue
        if last >= 0:
            parts.append(str(first) if first == last else f"{first}-{last}")
        if row is not None:
            first = last = row
    return ",".join(parts)


def unpack_rows(packed: str) -> list[int]:
    """The reverse. Raises ValueError on anything else, or more rows than `MAX_LEVELS`."""
    rows: list[int] = []
    for part in packed.split(",") if packed else []:
        first, dash, last = part.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if not 0 <= low <= high or high - low + len(rows) >= MAX_LEVELS:
            raise ValueError(f"expected rows such as 3-5,9, got {part[:40]!r}")
        rows.extend(range(low, high + 1))
    return rows


def pack_levels(levels: Sequence[int] | bytes) -> str:
    """Bytes as `AuditLine.levels` holds them."""
    return base64.b64encode(zlib.compress(bytes(levels))).decode("ascii")


def unpack_levels(packed: str) -> bytes:
    """The reverse. Raises ValueError on anything else."""
    try:
        inflate = zlib.decompressobj()
        found = inflate.decompress(base64.b64decode(packed, validate=True), MAX_LEVELS)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"expected deflated bytes in base64, got {error}") from None
    if not inflate.eof:
        raise ValueError("expected deflated bytes in base64, got a part of them")
    return found
