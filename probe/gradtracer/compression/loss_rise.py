"""By how much a loss rises when weights change, measured on the same examples each time.

Where a change D of the weights is tried in both directions, the even part of the rise,
(L(w + D) + L(w - D)) / 2 - L(w), is D'HD / 2 to third order, and the odd part is g'D. The even part
is how far the change disturbs the model. The odd part vanishes for the loss that was trained and
errors of either sign; it does not for weights that are narrowed or taken out, nor on examples that
did not train. No derivative is taken: bags and sparse tables have no second one in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradtracer.compression.simulation import shifted

Loss = Callable[[nn.Module], Tensor]
"""A smooth loss of the model, e.g. `lambda model: bce(model(users, items), labels)`."""

_BATCHES = 8
"""Draws that are averaged, where the loss draws its examples at random."""


class Rise(NamedTuple):
    """What a change does to the loss."""

    odd: float
    """About g'D, of either sign."""
    even: float
    """About D'HD / 2; negative only where the weights are at no minimum."""

    @property
    def whole(self) -> float:
        """L(w + D) - L(w)."""
        return self.odd + self.even


class LossRise:
    """A loss around a model's weights.

    The same random numbers at every call, so that changes are compared on the same batches;
    PyTorch's own state is left as it was.

    Args:
        model: Is as it was after each call.
        loss: Deterministic, or random by torch's generator.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model = model
        self._loss = loss
        first, second = self._at(0), self._at(1)
        self._batches = 1 if first == second else _BATCHES
        self._before = self._mean()

    def along(self, parts: Iterable[tuple[str, Tensor]]) -> Rise:
        """The rise for a change of some layers' weights: path of each, and `[rows, columns]`."""
        ends: list[float] = []
        held = [(self._model.get_parameter(f"{name}.weight"), change) for name, change in parts]
        for sign in (1, -1):
            with shifted([(weight, sign * change.to(weight)) for weight, change in held]):
                ends.append(self._mean())
        forth, back = ends
        return Rise((forth - back) / 2, (forth + back) / 2 - self._before)

    def _mean(self) -> float:
        return sum(self._at(seed) for seed in range(self._batches)) / self._batches

    def _at(self, seed: int) -> float:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            return float(self._loss(self._model))
