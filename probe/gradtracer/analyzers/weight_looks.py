"""Looks at some coordinates of the weights and their gradients, ever more rarely.

Runs in the training thread before the optimizer's step; reads nothing back from a device.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.optimizer_facts import held_by, told_by_scaler
from gradtracer.ranks import place_among_ranks
from gradtracer.statistics.kept_gradients import GradientWrites, KeptGradients, alike
from gradtracer.statistics.noise_floor import NoiseFloor, noise_floor

_log = logging.getLogger("gradtracer")

_EVERY = 8
"""Steps between two looks at the start; twice as many each time that the looks are full."""
_MOST = 64
"""Looks that are kept, over the whole run: half of them are left when it gets longer."""
_COORDINATES = 4_096
"""Of all weights of an optimizer together."""
_LEAST_COORDINATES = 64


class _Look(NamedTuple):
    step: int
    weights: torch.Tensor
    """`[C]` float32."""
    gradients: torch.Tensor
    """`[C]` float32."""


class _Part(NamedTuple):
    """Coordinates of one weight."""

    weight: weakref.ref[torch.Tensor]
    places: torch.Tensor


class WeightLooks:
    """What the optimizers of a training do to coordinates of its weights."""

    looks_ahead = True

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._weights: list[weakref.ref[torch.Tensor]] = []
        self._of: weakref.WeakKeyDictionary[Optimizer, _OneOptimizer] = weakref.WeakKeyDictionary()
        self._all: list[_OneOptimizer] = []
        """Of optimizers that are gone, too: the last report comes after the training."""
        self._active = True

    def observe(self, model: nn.Module) -> None:
        """Look at the weights of `model`, too."""
        known = {id(weight) for weight in self.parameters()}
        for weight in model.parameters():
            if id(weight) not in known and _can_be_looked_at(weight):
                self._weights.append(weakref.ref(weight))

    def parameters(self) -> Iterable[torch.Tensor]:
        """The weights that still exist."""
        return [weight for ref in self._weights if (weight := ref()) is not None]

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before an optimizer that holds some of the weights steps; never raises."""
        if not self._active:
            return
        try:
            looks = self._of.get(optimizer)
            if looks is None:
                held = held_by(optimizer) or set()
                weights = [weight for weight in self.parameters() if id(weight) in held]
                looks = self._of[optimizer] = _OneOptimizer(weights, self._generator)
                self._all.append(looks)
            looks.before_step(optimizer)
        except Exception:
            self._active = False
            _log.warning("stopped looking at the noise of the steps", exc_info=True)

    def after_step(self, optimizer: Optimizer) -> None:
        """Nothing is to be seen then."""

    def close(self) -> None:
        """Look no more; what was seen stays readable."""
        self._active = False

    def read(self) -> NoiseFloor | None:
        """The noise floor over the later half of the run; waits for the device.

        By the optimizer that holds most of the weights.
        """
        known = self._largest()
        return known.read() if known is not None else None

    def kept_gradients(self) -> KeptGradients | None:
        """Whether that optimizer's gradients are cleared; None where nobody can tell."""
        known = self._largest()
        return known.kept_gradients() if known is not None else None

    def _largest(self) -> _OneOptimizer | None:
        return max(list(self._all), key=lambda each: each.size, default=None)


class _OneOptimizer:
    def __init__(self, weights: Sequence[torch.Tensor], generator: torch.Generator) -> None:
        self.size = sum(weight.numel() for weight in weights)
        device = weights[0].device if weights else torch.device("cpu")
        self._parts: list[_Part] = []
        scale: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
        for weight in (each for each in weights if each.device == device):
            share = _COORDINATES * weight.numel() // self.size
            count = min(weight.numel(), max(_LEAST_COORDINATES, share))
            drawn = torch.randint(weight.numel(), (count,), generator=generator, device="cpu")
            self._parts.append(_Part(weakref.ref(weight), drawn.to(device, non_blocking=True)))
            scale.append(np.full(count, weight.numel() / count))
        self._scale = np.concatenate(scale) if scale else np.empty(0)
        self._steps = 0
        self._every = _EVERY
        # Replicas exchange gradients through buffers that have writes of their own.
        self._writes = GradientWrites() if place_among_ranks().world_size == 1 else None
        self._looks: tuple[_Look, ...] = ()
        """Replaced, never changed: another thread may read them."""

    def before_step(self, optimizer: Optimizer) -> None:
        self._steps += 1
        if self._steps % self._every or not self._parts:
            return
        weights: list[torch.Tensor] = []
        gradients: list[torch.Tensor] = []
        written: list[torch.Tensor | None] = []
        with torch.no_grad():
            for part in self._parts:
                weight = part.weight()
                if weight is None:
                    self._parts = []
                    return
                weights.append(weight.detach().take(part.places).float())
                gradients.append(_gradient_at(weight, part.places))
                written.append(weight.grad)
            gradient = torch.cat(gradients)
            scaled = told_by_scaler(optimizer, "grad_scale")
            gradient = gradient if scaled is None else gradient / scaled
        if self._writes is not None:
            self._writes.look(written, self._steps)
        looks = (*self._looks, _Look(self._steps, torch.cat(weights), gradient))
        if len(looks) > _MOST:
            looks, self._every = looks[1::2], 2 * self._every
        self._looks = looks

    def read(self) -> NoiseFloor | None:
        looks = self._later_looks()
        if not looks:
            return None
        weights = torch.stack([look.weights for look in looks]).double().cpu().numpy()
        return noise_floor(weights, _gradients_of(looks), self._scale)

    def kept_gradients(self) -> KeptGradients | None:
        looks, writes = self._later_looks(), self._writes
        if writes is None or not looks:
            return None
        return KeptGradients(writes.kept, writes.of, alike(_gradients_of(looks)))

    def _later_looks(self) -> list[_Look]:
        return [look for look in self._looks if 2 * look.step >= self._steps]


def _gradients_of(looks: Sequence[_Look]) -> NDArray[np.float64]:
    """`[L, C]`; waits for the device."""
    return torch.stack([look.gradients for look in looks]).double().cpu().numpy()


def _can_be_looked_at(weight: torch.Tensor) -> bool:
    # DTensor and other wrappers have gradients that are not whole here.
    plain = type(weight) in (nn.Parameter, torch.Tensor) and not weight.is_meta
    return plain and weight.is_floating_point() and weight.dim() >= 2 and weight.numel() > 0


def _gradient_at(weight: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    grad = weight.grad
    if grad is None or (grad.is_sparse and grad.is_cuda):
        # Bringing a sparse gradient into order makes the host wait for a GPU.
        return torch.zeros(places.shape, device=places.device, dtype=torch.float32)
    if not grad.is_sparse:
        return grad.take(places).float()
    grad = grad.coalesce()
    rows, width = grad.indices()[0], weight[0].numel()
    if not rows.numel():
        return torch.zeros(places.shape, dtype=torch.float32, device="cpu")
    wanted = places // width
    at = torch.searchsorted(rows, wanted).clamp_(max=rows.numel() - 1)
    values = grad.values().reshape(rows.numel(), width)[at, places % width]
    return torch.where(rows[at] == wanted, values.float(), 0.0)
