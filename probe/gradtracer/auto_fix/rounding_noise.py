"""Random numbers for stochastic rounding, of which a batch costs nothing to draw."""

from __future__ import annotations

import random

import torch

_VALUES = 1 << 16


class RoundingNoise:
    """Sixteen random bits for each element of `[B, D]`.

    All 65,536 values stand in a random order, twice in succession, and a step reads them from a
    random place on. So an element gets each of them with the same probability, whatever it had at
    the steps before: the rounding keeps the mean exactly, as with numbers drawn one by one, which
    took longer than all the rest of a step. Within a step no two elements share their number until
    B x D > 65,536; from there on rows do, shifted against each other.

    It takes half a megabyte on `device`. The place comes from the host's own generator, seeded, so
    that nothing waits for the device and nobody else's random numbers move.

    Args:
        width: D, up to 65,536 told apart; beyond, elements of a row share numbers.
        device: of the numbers.
        seed: of both draws.
    """

    def __init__(self, width: int, device: torch.device, seed: int) -> None:
        self._width = width
        self._random = random.Random(seed)
        order = torch.randperm(_VALUES, generator=torch.Generator().manual_seed(seed), device="cpu")
        copies = 1 + -(-max(width, _VALUES) // _VALUES)
        self._numbers = order.to(torch.int32).repeat(copies).to(device)

    def draw(self, rows: int) -> torch.Tensor:
        """`[rows, D]` int32, 0 to 65,535; a view, to be read before the next draw."""
        begin = self._random.randrange(_VALUES)
        spare = self._numbers.numel() - _VALUES - self._width
        stride = min(self._width, spare // max(rows - 1, 1))
        return self._numbers.as_strided((rows, self._width), (stride, 1), begin)
