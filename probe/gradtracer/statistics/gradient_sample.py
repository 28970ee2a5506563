"""A few coordinates of a layer's gradient, the same at every step."""

from __future__ import annotations

import torch

WIDTH = 256


class GradientSample:
    """Draws 256 coordinates of each gradient, with replacement, once for all steps.

    Directions of two steps are compared on these coordinates alone: under the null the test of
    `gradient_snr.py` needs nothing of them but that they are the same at every step, and their
    signal-to-noise ratio is that of a random part of the layer. Costs O(256) for each gradient,
    whatever its size.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._places: dict[int, torch.Tensor] = {}

    def places(self, size: int) -> torch.Tensor:
        """`[256]` int64 coordinates of a gradient of `size` elements, flattened.

        Gradients of one size share them.
        """
        if size not in self._places:
            drawn = torch.randint(size, (WIDTH,), generator=self._generator, device="cpu")
            self._places[size] = drawn.to(self._device, non_blocking=True)
        return self._places[size]

    @staticmethod
    def take(gradient: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`[256]` float32. Values that are not finite are taken as they are."""
        taken = gradient.take(places)
        return taken if taken.dtype == torch.float32 else taken.to(torch.float32)
