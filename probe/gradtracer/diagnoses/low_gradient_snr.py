"""LOW_GRADIENT_SNR: gradients of different steps have no direction in common.

See statistics/gradient_snr.py for the test.
"""

from __future__ import annotations

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import reduce_rate
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer

_MIN_STEPS = 256
_SIGNAL = 3.5
"""z of the test for any signal: 2 in 10,000 under noise, with room for many looks."""
_LEAST_RATIO = 1e-5
_LARGER = 10
"""A batch to try, over the present one: the ratio is in proportion to it (McCandlish, sec. 2.2)."""


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise when no layer of the model ever had a signal, and this one's ratio is below its floor.

    A healthy training comes to its noise floor too, layer by layer, once it has learned: what it
    never lacks is a signal at its start, in the layers near the loss at least. So the model is
    judged as a whole, and its last layer speaks.
    """
    snr, moving = figures.snr, figures.update_ratio(slice(None))
    if not figures.model.speaker or snr is None or moving is None:
        return None
    if snr.steps < _MIN_STEPS or figures.model.strongest >= _SIGNAL:
        return None
    confidence = snr.probability_below(settings.snr_floor)
    if confidence < 0.95 or moving.value < _LEAST_RATIO:
        return None
    return Finding(
        type="LOW_GRADIENT_SNR",
        severity="warning",
        confidence=confidence,
        premise=(
            f"Over {snr.steps:,} tracked steps the gradients of different steps had no direction "
            f"in common, here or in any other layer: signal to noise at most "
            f"{max(snr.interval[1], 0.0):.2g} a step, while each step moves this layer by "
            f"{moving.value:.1g} of its norm."
        ),
        implies=(
            "The updates are a random walk: labels that do not depend on the inputs, a loss that "
            "does not depend on the model, or a batch far too small."
        ),
        action=(
            "Check that labels belong to their inputs (shuffling, joins, indices) and that the "
            "loss uses what the model computes; then try a batch ten times larger, accumulated "
            "gradients, or a tenth of the learning rate, which averages over as many examples."
        ),
        expected_effect="A signal within the first hundred steps, and a loss that falls.",
        risk="A larger batch costs more for each step.",
        evidence=[
            Evidence(
                statistic="gradient_snr",
                value=snr.value,
                threshold=settings.snr_floor,
                comparison="below",
                n=snr.steps,
                interval=snr.interval,
                p_value=1.0 - confidence,
                test="products of gradients of different steps, self-normalised, normal",
            )
        ],
        fixes=[*_averaging(figures), suppress()],
    )


def _averaging(figures: LayerFigures) -> list[FixOffer]:
    """Where noise rules, steps of a tenth average as a batch ten times larger does.

    Smith, Kindermans, Ying and Le, Don't decay the learning rate, increase the batch size, ICLR
    (2018), sec. 2: the scale of the noise is the rate times examples over batch.
    """
    optimizer = figures.optimizer
    if optimizer is None or optimizer.base_lr <= 0:
        return []
    return [reduce_rate(optimizer, float(f"{optimizer.base_lr / _LARGER:.2g}"))]
