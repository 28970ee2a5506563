"""The recommenders finished under a recipe: by their own scores, and by the task's loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import recommenders
from gradtracer.compression import finish
from gradtracer.compression.quality import compare, values_of
from gradtracer.compression.simulation import simulated
from gradtracer_schemas import Recipe
from recommenders import TUNED, Task

_USERS = 128
"""Of a batch whose scores are followed; sequences: each has up to fifty positions, so a quarter."""
_RATE = 3e-4
"""Of following the scores, which start near: at 1e-3 half of what rounding took is left longer."""


def finished(
    name: str,
    task: Task,
    model: nn.Module,
    recipe: Recipe,
    evaluate: Callable[[nn.Module], Tensor],
) -> tuple[nn.Module, Recipe]:
    """Follow the scores, then try the task's loss, which is taken where it is better for sure.

    Each for half as many steps as the model was trained.
    """
    setting = TUNED[name]
    steps = len(recommenders.batches(model, task, setting.batch)) * setting.epochs // 2
    torch.manual_seed(0)
    followed = finish(
        model,
        recipe,
        None,
        evaluate,
        scores=scores(name, task),
        steps=steps,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=_RATE, weight_decay=0.0),
    )
    torch.manual_seed(0)
    trained = finish(
        model,
        recipe,
        losses(name, task),
        evaluate,
        steps=steps,
        optimizer=lambda parameters: torch.optim.AdamW(
            parameters, lr=1e-3, weight_decay=setting.decay
        ),
    )
    before, after = (
        values_of(evaluate, simulated(done.model, done.recipe)) for done in (followed, trained)
    )
    interval = compare(before, after, 0.9).interval
    taken = trained if interval is not None and interval[0] > 1.0 else followed
    return taken.model, taken.recipe


def losses(name: str, task: Task) -> Callable[[nn.Module], Tensor]:
    """The training loss as a closure that draws one batch by torch's generator."""
    examples = _examples(name, task)
    size = TUNED[name].batch

    def loss(model: Any) -> Tensor:
        return model.loss(task, examples[torch.randint(len(examples), (size,))])

    return loss


def scores(name: str, task: Task) -> Callable[[nn.Module], Tensor]:
    """Scores of all films as a closure that draws users, or sequences, by torch's generator."""
    examples = _examples(name, task) if name == "sequential" else None

    def drawn(model: Any) -> Tensor:
        if examples is not None:
            past = examples[torch.randint(len(examples), (_USERS // 4,))][:, :-1]
            return recommenders.scores_of(model.encode(past)[past != 0], model.item_emb)
        users = torch.randint(1, task.users, (_USERS,))
        if name == "mf":
            return recommenders.scores_of(model.user_emb(users), model.item_emb)
        towers = model.user_tower(users, model.history(task.history[users]))
        return towers @ model.item_tower(torch.arange(task.items)).T / model.temperature

    return drawn


def _examples(name: str, task: Task) -> Tensor:
    if name != "sequential":
        return task.train
    return torch.cat(recommenders.batches(TUNED[name].build(task), task, 10**6))
