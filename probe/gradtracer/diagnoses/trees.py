"""The examiners of an ensemble of trees, and which finding explains which."""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses import (
    exploding_leaves,
    overfitting_rounds,
    redundant_trees,
    split_concentration,
    stagnant_leaves,
    target_leakage,
)
from gradtracer.diagnoses.finding import Finding
from gradtracer.settings import Settings
from gradtracer_schemas import DiagnosisType

TREES: tuple[Callable[[TreeFigures, Settings], Finding | None], ...] = (
    target_leakage.examine,
    exploding_leaves.examine,
    overfitting_rounds.examine,
    stagnant_leaves.examine,
    split_concentration.examine,
    redundant_trees.examine,
)

_EXPLAINS: dict[DiagnosisType, frozenset[DiagnosisType]] = {
    "TARGET_LEAKAGE": frozenset(
        {"OVERFITTING_ROUNDS", "SPLIT_CONCENTRATION", "STAGNANT_LEAVES", "REDUNDANT_TREES"}
    ),
    "EXPLODING_LEAVES": frozenset({"OVERFITTING_ROUNDS"}),
    "OVERFITTING_ROUNDS": frozenset({"REDUNDANT_TREES", "STAGNANT_LEAVES"}),
    "STAGNANT_LEAVES": frozenset({"REDUNDANT_TREES"}),
}
"""What follows from a finding and would only repeat it: a leak is learned in few rounds, and what
overfits comes to an end of its training data. Its remedy is that of the others too."""


def examine(figures: TreeFigures, settings: Settings) -> list[Finding]:
    """What the tests say of an ensemble, without the consequences of what is said already."""
    findings = [finding for test in TREES if (finding := test(figures, settings)) is not None]
    explained = {kind for finding in findings for kind in _EXPLAINS.get(finding.type, ())}
    return [finding for finding in findings if finding.type not in explained]
