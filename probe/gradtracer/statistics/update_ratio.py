"""How far a step moves a layer, relative to its weights: |dW| / |W|."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradtracer.statistics.gradient_norm import norms


class Movement:
    """Copies of one group of weights, for the norm of what steps change.

    The copies are what a ratio costs: the group's size, for the length of a burst. The caller
    keeps groups small (`analyzers/layer_observer.py`).
    """

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self._weights = [weight.detach() for weight in weights]
        self._before = [torch.empty_like(weight) for weight in self._weights]

    def before(self) -> None:
        """Right before a step."""
        torch._foreach_copy_(self._before, self._weights)  # pyright: ignore

    def after(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Right after it: |dW| and |W| of each weight, `[P]` float32."""
        torch._foreach_sub_(self._before, self._weights)  # pyright: ignore
        return torch.stack(norms(self._before)), torch.stack(norms(self._weights))


def ratio(moved: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Ratio of two norms; zero where nothing moved, also at zero norm."""
    return torch.where(moved == 0, 0.0, moved / weight)
