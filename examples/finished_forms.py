"""The recommenders finished under a recipe: trained on as they were trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import recommenders
from gradtracer.compression import finish
from gradtracer_schemas import Recipe
from recommenders import TUNED, Task


def finished(
    name: str,
    task: Task,
    model: nn.Module,
    recipe: Recipe,
    evaluate: Callable[[nn.Module], Tensor],
) -> tuple[nn.Module, Recipe]:
    """By the training's own loss, learning rate and decay, for half as many steps."""
    setting = TUNED[name]
    steps = len(recommenders.batches(model, task, setting.batch)) * setting.epochs // 2
    torch.manual_seed(0)
    done = finish(
        model,
        recipe,
        losses(name, task),
        evaluate,
        steps=steps,
        optimizer=lambda parameters: torch.optim.AdamW(
            parameters, lr=setting.lr, weight_decay=setting.decay
        ),
    )
    return done.model, done.recipe


def losses(name: str, task: Task) -> Callable[[nn.Module], Tensor]:
    """The training loss as a closure that draws one batch by torch's generator."""
    examples = task.train
    if name == "sequential":
        examples = torch.cat(recommenders.batches(TUNED[name].build(task), task, 10**6))
    size = TUNED[name].batch

    def loss(model: Any) -> Tensor:
        return model.loss(task, examples[torch.randint(len(examples), (size,))])

    return loss
