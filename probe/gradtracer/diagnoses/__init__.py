"""One file per diagnosis type: the test, and the words.

`EMBEDDING` lists the examiners of a table. Each takes figures and settings and returns a Finding,
or None when the test does not reject (or has too little to go by).
"""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses import (
    dead_embeddings,
    embedding_drift,
    popularity_bias,
    representation_collapse,
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
)
