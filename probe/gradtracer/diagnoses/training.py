"""The examiners of a training as a whole, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses import (
    learning_rate_too_high,
    missing_regularization,
    non_finite,
    stale_gradients,
    undertrained,
)
from gradtracer.diagnoses.finding import Finding
from gradtracer.settings import Settings

TRAINING: tuple[Callable[[TrainingFigures, Settings], Finding | None], ...] = (
    non_finite.examine_loss,
    stale_gradients.examine,
    learning_rate_too_high.examine,
    missing_regularization.examine,
    undertrained.examine,
)
