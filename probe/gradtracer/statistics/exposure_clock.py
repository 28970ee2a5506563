"""What an exposure does to the averages of a row, as tables over the states a row may be in."""

from __future__ import annotations

import torch

MEMORY = 16
"""Pairs of exposures that an average goes back to."""
_OLD_EVIDENCE = 3
"""Exposures that earlier bursts count for: steps long ago say little about the row as it is."""
_COUNT_LIMIT = 40
"""Exposures are counted to here: no verdict asks for more than 32."""


class ExposureClock:
    """Tables over the 2 x 18 x 41 states.

    A state is (n exposures, age, whether the last gradient was kept), as one number. The age weighs
    the averages, 1/(age - 1) for the pair that ends here: it grows with each exposure that follows
    to 17, and falls back to 4 with one that does not.
    """

    KEPT = 1
    PER_EXPOSURE = 2 * (MEMORY + 2)

    def __init__(self, blocks: int, device: torch.device) -> None:
        state = torch.arange((_COUNT_LIMIT + 1) * self.PER_EXPOSURE)
        n, age = state // self.PER_EXPOSURE, state % self.PER_EXPOSURE // 2
        follows = (state & self.KEPT).bool()
        later = torch.where(follows | (n == 0), n + 1, n)
        # Back by whole periods, so that the sequence of blocks never jumps.
        later = torch.where(later > _COUNT_LIMIT, later - 2 * blocks, later)
        older = torch.minimum(age, torch.where(follows, MEMORY, _OLD_EVIDENCE)) + 1
        # The first pair ever weighs 1, whatever exposures without a predecessor came before.
        pairs = (torch.minimum(older, later) - 1).clamp(min=1)
        self.block = ((n - 1).clamp(min=0) % blocks).to(device)
        self.next_block = ((later - 1) % blocks).to(device)
        self.pair_weight = torch.where(follows, 1.0 / pairs, 0.0).to(device)
        following = later * self.PER_EXPOSURE + 2 * older + self.KEPT
        self.following = following.to(torch.int16).to(device)
