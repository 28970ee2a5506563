"""A few more steps of training under a recipe's rounding, kept only where they measured better.

Each step computes the loss and its gradient at the rounded weights and applies it to the unrounded
ones: the straight-through estimator (Bengio et al., arXiv:1308.3432, 2013; Courbariaux et al.,
BinaryConnect, NeurIPS 2015). What is kept is the average over all steps (Polyak and Juditsky 1992),
which rounds better than any single step's weights: the model was trained before, so that there is
no way to its minimum to be left out.

The task's loss trains the model on, which costs quality where it was stopped in time; the scores of
the model as it was (`distilling.py`) ask for what rounding took, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradtracer.compression.distilling import Scores, distilled
from gradtracer.compression.formats import read_back
from gradtracer.compression.loss_rise import Loss
from gradtracer.compression.quality import Evaluate, Ratio, compare, values_of
from gradtracer.compression.recipe_file import layer_recipe
from gradtracer.compression.simulation import packable_weights, shifted, simulated
from gradtracer.compression.structure import narrow
from gradtracer.exceptions import UsageError
from gradtracer_schemas import Recipe

_REFRESH = 8
"""Steps between two roundings; between them the last difference serves."""


class Finished(NamedTuple):
    """What finishing came to."""

    model: nn.Module
    """To be compressed by `recipe`: finished, or as it was where that measured no better."""
    recipe: Recipe
    """For `model`: of storage alone where the model was finished, as its shapes have changed."""
    kept: bool
    """Whether the finished one is taken: it measured better."""
    ratio: Ratio
    """Quality of the finished over that of the compressed without."""


def finish(
    model: nn.Module,
    recipe: Recipe,
    loss: Loss | None,
    evaluate: Evaluate,
    *,
    scores: Scores | None = None,
    steps: int = 500,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
    confidence: float = 0.9,
) -> Finished:
    """Train a copy of the model on under the recipe, and keep it where it measured better.

    The metric is asked twice, before and after, and never to choose a step. To come nearer to the
    model's own scores is no reason by itself: a recipe may be better than the model.

    Args:
        model: Is left as it is.
        recipe: What it will be compressed by.
        loss: Draws a batch and returns the training loss of the model that it is given; None: the
            scores are followed.
        scores: Instead of `loss`: draws a batch of the examples that trained, by torch's generator,
            and returns the scores `[..., n]` of the model that it is given, as logits.
        evaluate: As for `RecipeGenerator`, on examples that neither trains.
        steps: Of training.
        optimizer: Makes one of the parameters; None: `AdamW(lr=1e-3, weight_decay=0)`. For `loss`
            pass that which trained, with its rate and decay: as the steps are averaged, a smaller
            rate only goes less far. For `scores` a small rate, without decay.
        confidence: Of the ends of the ratio's interval, one-sided.

    Raises:
        UsageError: no step, not one of `loss` and `scores`, or a loss without a gradient.
        RecipeError: as `structure.narrow`.
    """
    if steps < 1:
        raise UsageError(f"steps: expected 1 or more, e.g. 500, got {steps}")
    if (loss is None) == (scores is None):
        raise UsageError(
            "loss: expected it or scores, not both, e.g. finish(model, recipe, None, evaluate, "
            "scores=lambda model: model(draw()))"
        )
    with torch.no_grad():
        before = values_of(evaluate, simulated(model, recipe).eval())
    narrowed, storage = narrow(model, recipe)
    narrowed.train()
    follows = distilled(model, scores) if scores is not None else loss
    assert follows is not None
    _train(narrowed, storage, follows, steps, optimizer or _adam)
    narrowed.train(model.training)
    rounded = simulated(narrowed, storage).eval()
    with torch.no_grad():
        ratio = compare(before, values_of(evaluate, rounded), confidence)
    if ratio.value > 1.0:
        return Finished(narrowed, storage, True, ratio)
    return Finished(model, recipe, False, ratio)


def _adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)


def _train(
    model: nn.Module,
    storage: Recipe,
    loss: Loss,
    steps: int,
    make: Callable[[Iterable[nn.Parameter]], Optimizer],
) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make(parameters)
    averaged = [torch.zeros_like(parameter) for parameter in parameters]
    shifts: list[tuple[Tensor, Tensor]] = []
    for step in range(steps):
        if step % _REFRESH == 0:
            shifts = _shifts(model, storage)
        optimizer.zero_grad()
        with shifted(shifts):
            value = loss(model)
            if not value.requires_grad:
                raise UsageError("loss: expected one with a gradient, got a number without")
            value.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(averaged, parameters, strict=True):
                mean.lerp_(parameter, 1.0 / (step + 1))
    with torch.no_grad():
        for mean, parameter in zip(averaged, parameters, strict=True):
            parameter.copy_(mean)


@torch.no_grad()
def _shifts(model: nn.Module, storage: Recipe) -> list[tuple[Tensor, Tensor]]:
    """Each weight that is rounded, with how far rounding moves it."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for name, weight in packable_weights(model):
        entry = layer_recipe(storage, f"{name}.weight")
        if entry is not None and id(weight) not in found:
            moved = read_back(weight, entry, f"layers.{name}") - weight.detach()
            found[id(weight)] = (weight, moved)
    return list(found.values())
