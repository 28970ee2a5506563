"""What `AgentExporter` writes: a table, the layers or towers of a model, an ensemble of trees.

Not on the wire: a program asks the tracker for it. The keys of the original system stay.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gradtracer_schemas.diagnosis import Diagnosis, Evidence, FixOffer, Rows, Severity
from gradtracer_schemas.rule import DiagnosisType
from gradtracer_schemas.site import SourceSite


class Healthy(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in the place of diagnoses where no test rejects."""

    status: str
    """`HEALTHY: ` and after how much that was said; `UNKNOWN: ` when nothing was seen."""


class EmbeddingStats(msgspec.Struct, frozen=True, kw_only=True):
    """The original system's figures of a table."""

    num_embeddings: int
    """Rows, `padding_idx` included."""
    active_coverage_pct: float
    """Share of the rows that were looked up, in percent."""
    popularity_gini: float
    """Gini coefficient of the look-ups over the rows seen."""


class TableReport(msgspec.Struct, frozen=True, kw_only=True):
    """One table."""

    layer: str
    """Dotted path."""
    embedding_stats: EmbeddingStats
    """The original system's figures."""
    diagnostics: list[Diagnosis] | Healthy
    """What the tests find now, without hysteresis."""
    run: str
    """Run id."""
    step: int
    """Optimizer steps done."""
    site: SourceSite
    """Where it is defined."""
    values: dict[str, float]
    """Every figure, by the names of PROTOCOL.md and those of the original system."""


class EmbeddingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `AgentExporter.export_embedding`."""

    gradtracer_embedding_report: TableReport
    """The report."""


class LayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a model."""

    layer: str
    """Dotted path."""
    site: SourceSite
    """Where it is defined."""
    values: dict[str, float]
    """Its figures, by the names of PROTOCOL.md."""
    diagnostics: list[Diagnosis] | Healthy
    """What the tests find now, without hysteresis."""


class LayersReport(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of a model."""

    layers: list[LayerReport]
    """In the order of the model."""
    run: str
    """Run id."""
    step: int
    """Optimizer steps done."""


class FlowReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `AgentExporter.export_flow`."""

    gradtracer_flow_report: LayersReport
    """The report."""


class TowerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tower of a model."""

    tower: str
    """Its name."""
    modules: list[str]
    """Dotted paths of its modules."""
    values: dict[str, float]
    """Its figures, by the names of PROTOCOL.md; empty before enough steps were followed."""
    diagnostics: list[Diagnosis] | Healthy
    """What the tests find now, without hysteresis."""


class TowersReport(msgspec.Struct, frozen=True, kw_only=True):
    """The towers of a model, and the trackers collected beside them."""

    name: str
    """Of the collection."""
    towers: list[TowerReport]
    """Empty for a mere collection of trackers."""
    summary: dict[str, Any]
    """Each tracker's summary by its key, and the original system's totals."""


class ManagerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `AgentExporter.export_manager`."""

    gradtracer_manager_report: TowersReport
    """The report."""


class TreeFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis of an ensemble that belongs to no run: fields as in `Diagnosis`."""

    type: DiagnosisType
    """Entry of the catalogue."""
    severity: Severity
    """How loud to be."""
    confidence: float
    """Probability, under the test in `evidence`, that the premise holds."""
    premise: str
    """What was measured, in a sentence."""
    implies: str
    """What it means for the model."""
    action: str
    """What to do."""
    expected_effect: str
    """What should change then."""
    evidence: list[Evidence]
    """The findings, the deciding one first; never empty."""
    fixes: list[FixOffer]
    """Remedies, the preferred one first."""
    risk: str = ""
    """What the action may cost."""
    rows: Rows | None = None
    """Unused for trees."""


class EnsembleReport(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble of trees."""

    model: str
    """Name of the model."""
    library: str
    """`xgboost`, `lightgbm`, `catboost`, …"""
    dynamics: dict[str, Any]
    """Result of `extract_dynamics`: the original system's keys, and ours."""
    diagnostics: list[TreeFinding] | Healthy
    """What the tests find."""


class TreeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `AgentExporter.export_trees`."""

    gradtracer_tree_report: EnsembleReport
    """The report."""
