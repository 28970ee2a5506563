"""The examiners of a layer with weights, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses import (
    dead_neurons,
    exploding_updates,
    low_gradient_snr,
    non_finite,
    saturated_activations,
    stagnation,
    vanishing_gradients,
)
from gradtracer.diagnoses.finding import Finding
from gradtracer.settings import Settings

LAYER: tuple[Callable[[LayerFigures, Settings], Finding | None], ...] = (
    non_finite.examine,
    exploding_updates.examine,
    vanishing_gradients.examine,
    stagnation.examine,
    dead_neurons.examine,
    saturated_activations.examine,
    low_gradient_snr.examine,
)
