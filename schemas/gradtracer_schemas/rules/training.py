"""Rules about the training as a whole."""

from __future__ import annotations

from gradtracer_schemas.rule import Rule

TRAINING_RULES = (
    Rule(
        type="NON_FINITE",
        title="Gradients that are not finite",
        looks_for=(
            "The first step whose gradient held an infinite or undefined value, and the layer "
            "nearest the loss that had one at that step: a backward pass carries them on towards "
            "the inputs, so that they began there or just after it. Looked for at every step on "
            "the CPU, at the followed steps on other devices."
        ),
        matters="One such value spreads to every weight that the step reaches.",
        remedies=(
            "Find the first operation that yields it with "
            "`torch.autograd.set_detect_anomaly(True)`; lower the learning rate; guard log, "
            "division and square root; use a GradScaler with half precision."
        ),
        silent_when=(
            "A GradScaler skipped the step, as it does while it looks for its scale; or, on a "
            "GPU, the step fell between two bursts and left no trace in the weights."
        ),
        source="Clopper and Pearson, Biometrika 26 (1934), for the interval.",
    ),
)
