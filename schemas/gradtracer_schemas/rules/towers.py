"""Rules about towers: groups of layers that learn side by side."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

TOWER_RULES = (
    Rule(
        type="TOWER_IMBALANCE",
        title="One tower hardly moves while another learns",
        looks_for=(
            "The share of its own norm that a step moves each tower by, over its layers and the "
            "table rows that the batch reaches: the fastest tower's against each other's, over the "
            "bursts of the later half of the run (Student t on the log scale), against a factor "
            "of ten. The ratio of gradient norms stands beside it where it explains the other."
        ),
        matters=(
            "The fast tower learns to match what the slow one happened to be at its start: scores "
            "then rest on one tower alone, and new users or items are served by noise."
        ),
        remedies=(
            "A learning rate for the slow tower nearer to the other's; smaller initial weights, "
            "where they are large for their gradients; where no gradient arrives, the detached "
            "output or the mask that stops it. Freeze a tower that is meant to stay."
        ),
        silent_when=(
            "Fewer than four bursts of 16 steps; a tower that is frozen; the parts of a model in a "
            "row, which learn at paces of their own."
        ),
        source=(
            "Update-to-weight ratio of each tower; paired differences of logarithms over bursts, "
            "Student t."
        ),
    ),
)
