"""A verdict on a layer, with the test behind it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from gradtracer_schemas.rule import DiagnosisType
from gradtracer_schemas.site import SourceSite

Severity = Literal["error", "warning", "information"]
"""How loud to be."""
Comparison = Literal["above", "below"]
"""On which side of its threshold a value lies."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One statistical finding. It cannot be built without its n and its uncertainty."""

    statistic: str
    """Name of the statistic, as in the observation's `values`."""
    value: float
    """The measured value."""
    threshold: float
    """The value it was compared with."""
    comparison: Comparison
    """On which side of the threshold the value must lie for the diagnosis."""
    n: Annotated[int, msgspec.Meta(ge=1)]
    """Sample size of the test."""
    unit: str = ""
    """Unit of `value` and `threshold`; empty for a pure number."""
    interval: tuple[float, float] | None = None
    """Confidence interval of `value` at `interval_level`."""
    interval_level: float = 0.95
    """Level of `interval`."""
    p_value: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """P-value of the test, after correction where several rows were tested."""
    test: str = ""
    """Name of the test, and of its correction."""

    def __post_init__(self) -> None:
        if self.interval is None and self.p_value is None:
            raise ValueError(
                f"evidence {self.statistic!r}: expected an interval or a p_value, got neither; "
                "pass e.g. interval=(0.71, 0.83)"
            )
        numbers = [self.value, self.threshold, *(self.interval or ())]
        if not all(math.isfinite(x) for x in numbers):
            raise ValueError(f"evidence {self.statistic!r}: expected finite numbers, got {numbers}")


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """The table rows a diagnosis is about: a count and a few of them."""

    count: int
    """How many rows."""
    of: int
    """How many rows were tested."""
    sample: list[int] = []
    """At most 20 row ids, the strongest findings first."""


class FixOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy the probe can parameterise from what it measured. The server makes the edit."""

    fix: str
    """Name in the server's registry of fixes, e.g. `reduce-embedding-dim`."""
    parameters: dict[str, Any] = {}
    """What the fix needs, e.g. `{"embedding_dim": 24}`."""
    preferred: bool = False
    """The one to try first."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Premise, implication, action: with the evidence that carries them."""

    id: str
    """`TYPE:layer@run`, the same in editor, CLI and agent."""
    type: DiagnosisType
    """Entry of the catalogue."""
    layer: str
    """Dotted path of the layer."""
    severity: Severity
    """How loud to be."""
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Probability, under the test in `evidence`, that the premise holds."""
    premise: str
    """What was measured, in a sentence."""
    implies: str
    """What it means for the model."""
    action: str
    """What to do."""
    expected_effect: str
    """What should change then."""
    evidence: Annotated[list[Evidence], msgspec.Meta(min_length=1)]
    """The findings, the deciding one first; never empty."""
    risk: str = ""
    """What the action may cost."""
    rows: Rows | None = None
    """The rows concerned, for findings about rows."""
    site: SourceSite = SourceSite()
    """Where the layer is defined."""
    related: dict[str, SourceSite] = {}
    """Other source the finding or its fixes rest on, by role: `watch`, `optimizer`,
    `step`, `model`."""
    fixes: list[FixOffer] = []
    """Remedies, the preferred one first."""
    first_step: int = 0
    """Training step at which it was first raised."""

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"diagnosis {self.id!r}: expected at least one Evidence, got none")


class DiagnosisCleared(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier diagnosis no longer holds."""

    id: str
    """Id of the diagnosis that ends."""
    reason: str
    """The finding that ended it, in a sentence."""
