"""The examiners of an embedding table, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses import (
    dead_embeddings,
    embedding_drift,
    non_finite,
    popularity_bias,
    representation_collapse,
    stagnation,
    zombie_embeddings,
)
from gradtracer.diagnoses.finding import Finding
from gradtracer.settings import Settings

EMBEDDING: tuple[Callable[[TableFigures, Settings], Finding | None], ...] = (
    zombie_embeddings.examine,
    dead_embeddings.examine,
    popularity_bias.examine,
    representation_collapse.examine,
    embedding_drift.examine,
    non_finite.examine_table,
    stagnation.examine_table,
)
