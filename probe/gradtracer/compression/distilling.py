"""A loss for finishing: how far the scores are from those of the model as it was.

The task's loss trains on: where the model was stopped before it fits the training examples too
closely, more steps cost quality whatever is rounded. The scores of the model as it was (Hinton,
Vinyals and Dean, arXiv:1503.02531, 2015) need no labels and ask for what rounding took, no more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradtracer.compression.loss_rise import Loss

Scores = Callable[[nn.Module], Tensor]
"""Scores `[..., n]` of n items, or logits of n classes, all finite, of a batch that it draws by
torch's generator."""


def distilled(model: nn.Module, scores: Scores) -> Loss:
    """Return a loss of another model: its scores' Kullback-Leibler divergence from these, in nats.

    Both models score the same batch in evaluation mode, as dropout would be learnt from. The mean
    over all but the last dimension, along which scores are taken as logits.

    Args:
        model: As it was. Weights and mode are left as they are.
        scores: Of the examples that trained, never of those that `evaluate` asks.
    """
    teacher = copy.deepcopy(model).eval()

    def loss(student: nn.Module) -> Tensor:
        student.eval()
        with torch.random.fork_rng(), torch.no_grad():
            wanted = scores(teacher).log_softmax(-1)
        found = scores(student).log_softmax(-1)
        each = F.kl_div(found, wanted, reduction="none", log_target=True).sum(-1)
        return each.mean()

    return loss
