"""The types of diagnoses, and what a page of `gradtracer rule TYPE` says."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

DiagnosisType = Literal[
    "ZOMBIE_EMBEDDINGS",
    "DEAD_EMBEDDINGS",
    "POPULARITY_BIAS",
    "REPRESENTATION_COLLAPSE",
    "EMBEDDING_DRIFT",
    "LOW_GRADIENT_SNR",
    "STAGNATION",
    "DEAD_NEURONS",
    "SATURATED_ACTIVATIONS",
    "VANISHING_GRADIENTS",
    "EXPLODING_UPDATES",
    "TOWER_IMBALANCE",
    "STAGNANT_LEAVES",
    "EXPLODING_LEAVES",
    "SPLIT_CONCENTRATION",
    "OVERFITTING_ROUNDS",
    "REDUNDANT_TREES",
    "TARGET_LEAKAGE",
    "LEARNING_RATE_TOO_HIGH",
    "MISSING_REGULARIZATION",
    "UNDERTRAINED",
    "NON_FINITE",
    "STALE_GRADIENTS",
    "SHARD_IMBALANCE",
    "COMPRESSIBLE",
]
"""Every type that may ever stand in a diagnosis. A reader shows a type without a rule plainly."""

DIAGNOSIS_TYPES: tuple[DiagnosisType, ...] = get_args(DiagnosisType)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a type means, for people."""

    type: DiagnosisType
    """The type the page is about."""
    title: str
    """A noun phrase of at most 60 characters."""
    looks_for: str
    """What is measured and compared."""
    matters: str
    """Why anyone should care."""
    remedies: str
    """What helps, the best first."""
    silent_when: str
    """When it says nothing although one might expect it to."""
    source: str
    """Paper or derivation behind the statistic."""
