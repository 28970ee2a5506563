"""One file per diagnosis type: the test, and the words.

`EMBEDDING` lists the examiners of a table, `LAYER` those of any other layer. Each takes figures and
settings and returns a Finding, or None when the test does not reject (or has too little to go by).
"""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses import (
    dead_embeddings,
    dead_neurons,
    embedding_drift,
    exploding_updates,
    low_gradient_snr,
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
)

LAYER: tuple[Callable[[LayerFigures, Settings], Finding | None], ...] = (
    non_finite.examine,
    exploding_updates.examine,
    stagnation.examine,
    dead_neurons.examine,
    low_gradient_snr.examine,
)
