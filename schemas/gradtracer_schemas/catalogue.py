"""The catalogue: the rule of each type that a released probe can raise."""

from __future__ import annotations

from gradtracer_schemas.rule import DiagnosisType, Rule
from gradtracer_schemas.rules.compression import COMPRESSION_RULES
from gradtracer_schemas.rules.embeddings import EMBEDDING_RULES
from gradtracer_schemas.rules.layers import LAYER_RULES
from gradtracer_schemas.rules.towers import TOWER_RULES
from gradtracer_schemas.rules.training import TRAINING_RULES
from gradtracer_schemas.rules.trees import TREE_RULES

RULES: dict[DiagnosisType, Rule] = {
    rule.type: rule
    for rule in (
        *EMBEDDING_RULES,
        *LAYER_RULES,
        *TOWER_RULES,
        *TRAINING_RULES,
        *TREE_RULES,
        *COMPRESSION_RULES,
    )
}
"""In the order in which `gradtracer rule` lists them."""
