"""The exact slow twin of a FlowTracker: every gradient and weight kept, figures in float64."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from gradtracer.statistics.gradient_sample import GradientSample


class Twin(NamedTuple):
    """What a tracker should say of one layer after some steps."""

    grad_norm: float
    update_ratio: float
    zero: int
    nonfinite: int
    weight_norm: float
    share: float
    error: float
    strongest: float
    silent: set[int]


class FlowTwin:
    """Records the weights and biases of `Linear` layers around each step of one optimizer."""

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        self._layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
        self._gradients: dict[str, list[np.ndarray]] = {name: [] for name in self._layers}
        self._biases: dict[str, list[np.ndarray]] = {name: [] for name in self._layers}
        self._weights: dict[str, list[np.ndarray]] = {
            name: [_array(layer.weight)] for name, layer in self._layers.items()
        }
        sample = GradientSample(torch.device("cpu"), seed)
        self._places = {n: sample.places(m.weight.numel()) for n, m in self._layers.items()}

    def before_step(self) -> None:
        for name, layer in self._layers.items():
            grad, bias = layer.weight.grad, layer.bias.grad if layer.bias is not None else None
            self._gradients[name].append(
                np.zeros(tuple(layer.weight.shape)) if grad is None else _array(grad)
            )
            self._biases[name].append(
                np.zeros(layer.weight.shape[0]) if bias is None else _array(bias)
            )

    def after_step(self) -> None:
        for name, layer in self._layers.items():
            self._weights[name].append(_array(layer.weight))

    def says(self, name: str) -> Twin:
        gradients, weights = self._gradients[name], self._weights[name]
        norms = [float(np.linalg.norm(g)) for g in gradients]
        sound = [n for n in norms if math.isfinite(n) and n > 0]
        start = {at: np.linalg.norm(weights[16 * (at // 16)]) for at in range(len(norms))}
        ratios = [
            float(np.linalg.norm(after - before) / max(np.linalg.norm(after), start[at]))
            for at, (before, after) in enumerate(itertools.pairwise(weights))
        ]
        moved = [r for r in ratios if r > 0 and math.isfinite(r)]
        share, error, strongest = self._signal(name)
        recent = slice(-64, None)
        reached = np.any([np.abs(g).sum(1) > 0 for g in gradients[recent]], axis=0)
        reached |= np.any([b != 0 for b in self._biases[name][recent]], axis=0)
        return Twin(
            grad_norm=_geometric(sound[recent]),
            update_ratio=_geometric(moved[recent]),
            zero=norms.count(0.0),
            nonfinite=len(norms) - len(sound) - norms.count(0.0),
            weight_norm=float(np.linalg.norm(weights[-1])),
            share=share,
            error=error,
            strongest=strongest,
            silent=set(np.flatnonzero(~reached).tolist()),
        )

    def _signal(self, name: str) -> tuple[float, float, float]:
        places = self._places[name].numpy()
        directions = []
        for gradient in self._gradients[name]:
            z = gradient.reshape(-1)[places]
            length = np.linalg.norm(z)
            if math.isfinite(length) and length > 0:
                directions.append(z / length)
        # Every pair of two steps, once.
        u = [sum(float(b @ a) for a in directions[:i]) for i, b in enumerate(directions)]
        pairs = len(u) * (len(u) - 1) / 2
        squares = math.sqrt(sum(x * x for x in u))
        looks = [
            sum(u[:end]) / math.sqrt(sum(x * x for x in u[:end]))
            for end in range(32, len(u) + 1, 16)
        ]
        return sum(u) / pairs, squares / pairs, max([0.0, *looks])


def _geometric(values: list[float]) -> float:
    return math.exp(float(np.mean(np.log(values)))) if values else 0.0


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()
