"""VANISHING_GRADIENTS: what reaches the first layers is a trace of what the last ones get."""

from __future__ import annotations

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses.finding import Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise on the first of the layers whose gradients are lost, unless dead units explain it.

    See `analyzers/model_layers.py` for the test.
    """
    lost = figures.vanishing
    if lost is None or figures.model.off:
        return None
    others = f", and so in {many(lost.layers - 1, 'layer')} more of {lost.of}"
    return Finding(
        type="VANISHING_GRADIENTS",
        severity="warning",
        confidence=lost.confidence,
        premise=(
            f"For its weights the gradient here is {lost.ratio:.1g} of that in layer "
            f"{lost.strongest}{others if lost.layers > 1 else ''}, and a step moves it by "
            f"{lost.pace:.1g} of what it moves that one, over {lost.n:,} tracked steps of the "
            "later half."
        ),
        implies=(
            "The first layers stay what they were at their start, and the last ones learn on what "
            "those happen to give: the depth between is for nothing."
        ),
        action=(
            "Saturated activations (sigmoid, tanh) and small initial weights shrink a gradient at "
            "every layer: use GELU or ReLU with their usual initialisation, put normalisation or "
            "residual connections between the layers, or an optimizer that divides the gradient's "
            "scale out, such as Adam."
        ),
        expected_effect="Gradients, for their weights, within a factor of a hundred of each other.",
        risk="Another activation is another model: train it anew.",
        evidence=[
            Evidence(
                statistic="gradient_depth_ratio",
                value=lost.ratio,
                threshold=settings.vanishing_ratio,
                comparison="below",
                n=lost.n,
                interval=lost.interval,
                test="difference of mean logarithms over steps, normal",
            )
        ],
        fixes=[FixOffer(fix="replace-activation", parameters=_activations(figures)), suppress()],
    )


def _activations(figures: LayerFigures) -> dict[str, float | str]:
    """What to put in the place of what; a rectifier where no saturating one was met."""
    met = {"from": figures.saturation.activation} if figures.saturation is not None else {}
    return {**met, "to": "GELU"}
