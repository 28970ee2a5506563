"""How far a step moves a layer, relative to its weights: |dW| / |W|."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradtracer.statistics.gradient_norm import squared_norms


class UpdateRatio:
    """Weights of one group of tensors, kept over one optimizer step.

    The copy is what a ratio costs: the group's size, for the length of a step. The caller keeps
    groups small (`analyzers/layer_observer.py`).
    """

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self._weights = [weight.detach() for weight in weights]
        self._before = [weight.clone() for weight in self._weights]

    def squares(self) -> tuple[torch.Tensor, torch.Tensor]:
        """After the step: |dW|^2 and max(|W before|, |W after|)^2 of each tensor, `[P]` float64.

        The larger of the two norms, so that a layer which begins at zero has a ratio of one and
        not an infinite one.
        """
        before = squared_norms(self._before)
        after = squared_norms(self._weights)
        torch._foreach_sub_(self._before, self._weights)  # pyright: ignore
        return squared_norms(self._before), torch.maximum(before, after)


def ratio(moved: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Ratio of two squared norms as a plain ratio; zero where nothing moved, also at zero norm."""
    return torch.where(moved == 0, 0.0, (moved / weight).sqrt())
