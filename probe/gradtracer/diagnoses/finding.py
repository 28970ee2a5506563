"""What an examiner says about a layer, before it has an id and a place."""

from __future__ import annotations

import math
from typing import NamedTuple

from gradtracer_schemas import DiagnosisType, Evidence, FixOffer, Rows, Severity

MAX_SAMPLE = 20


class Finding(NamedTuple):
    """Fields as in `gradtracer_schemas.Diagnosis`."""

    type: DiagnosisType
    severity: Severity
    confidence: float
    premise: str
    implies: str
    action: str
    expected_effect: str
    evidence: list[Evidence]
    fixes: list[FixOffer]
    risk: str = ""
    rows: Rows | None = None


def suppress() -> FixOffer:
    """The comment that silences a type on its line; every diagnosis offers it, last."""
    return FixOffer(fix="suppress")


def probability_above(value: float, error: float, threshold: float) -> float:
    """P(true value > threshold) under a normal law around `value` with standard `error`."""
    if error <= 0:
        return 1.0 if value > threshold else 0.0
    return 0.5 * math.erfc(-(value - threshold) / (error * math.sqrt(2)))


def many(count: float, noun: str) -> str:
    """`1 row`, `1,682 rows`."""
    whole = round(count)
    return f"{whole:,} {noun}" if whole == 1 else f"{whole:,} {noun}s"
