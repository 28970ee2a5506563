"""A small random projection of a layer's gradient, the same at every step."""

from __future__ import annotations

import torch

_SIDE = 16
WIDTH = _SIDE * _SIDE


class GradientSketch:
    """Projects gradients `[O, ...]` to 256 numbers whose products keep those of the gradients.

    Z = R G S / 16, with G as `[O, I]`, and R `[16, O]`, S `[I, 16]` of independent random signs.
    The expectation of <Z, Z'> over the signs is <G, G'>. Its relative standard error is at most
    about 1/2, reached when G has rank one; the same signs serve every step, so that this is a
    factor common to all steps, not noise between them. Alon, Matias and Szegedy, The space
    complexity of approximating the frequency moments, J. Comput. Syst. Sci. 58 (1999); for
    products of signs, Pham and Pagh, KDD 2013.

    Cost O(16 |G|). Signs are kept once for all layers, of the longest side met.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._left = torch.empty(_SIDE, 0, device=device)
        self._right = torch.empty(0, _SIDE, device=device)

    def make_room(self, shape: torch.Size) -> None:
        """Draw signs for gradients of this shape; done once, before the steps."""
        rows, columns = shape[0], shape[1:].numel()
        if rows > self._left.shape[1]:
            self._left = torch.cat([self._left, self._signs(_SIDE, rows, self._left.shape[1])], 1)
        if columns > self._right.shape[0]:
            more = self._signs(_SIDE, columns, self._right.shape[0])
            self._right = torch.cat([self._right, more.T / _SIDE], 0)

    def _signs(self, side: int, length: int, have: int) -> torch.Tensor:
        bits = torch.randint(2, (side, length - have), generator=self._generator)
        return (2.0 * bits - 1.0).to(self._device, non_blocking=True)

    def project(self, gradient: torch.Tensor) -> torch.Tensor:
        """`[256]` float32. A gradient that is not finite gives values that are not either."""
        flat = gradient.detach().to(torch.float32)
        flat = flat.flatten(1) if flat.dim() > 1 else flat.unsqueeze(1)
        rows, columns = flat.shape
        return (self._left[:, :rows] @ flat @ self._right[:columns]).flatten()
