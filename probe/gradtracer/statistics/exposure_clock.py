"""What an exposure does to the averages of a row, as tables over the states a row may be in."""

from __future__ import annotations

import numpy as np
import torch

MEMORY = 16
"""Pairs of exposures that an average goes back to."""
_OLD_EVIDENCE = 3
"""Exposures that earlier bursts count for: steps long ago say little about the row as it is."""
_COUNT_LIMIT = 40
"""Exposures are counted to here: no verdict asks for more than 32."""


_TIMES = np.array(
    [1, 2, 3, *(eighth << octave for octave in range(7) for eighth in range(4, 8)), 512]
)
"""Examples of an exposure that five bits tell apart: each up to 8, to an eighth up to 512."""


class ExposureClock:
    """Tables over the 2 x 18 x 41 states, which lie in 16 bits with the examples of an exposure.

    A state is (n exposures, age, whether the last gradient was kept), as one number. The age weighs
    the averages, 1/(age - 1) for the pair that ends here: it grows with each exposure that follows
    to 17, and falls back to 4 with one that does not. A clock is a state above the five bits that
    say how many examples the last exposure had.
    """

    SHIFT = 5
    KEPT = 1 << SHIFT
    """In a clock."""
    PER_EXPOSURE = 2 * (MEMORY + 2)

    def __init__(self, blocks: int, device: torch.device) -> None:
        state = torch.arange((_COUNT_LIMIT + 1) * self.PER_EXPOSURE, device="cpu")
        n, age = state // self.PER_EXPOSURE, state % self.PER_EXPOSURE // 2
        follows = (state & 1).bool()
        later = torch.where(follows | (n == 0), n + 1, n)
        # Back by whole periods, so that the sequence of blocks never jumps.
        later = torch.where(later > _COUNT_LIMIT, later - 2 * blocks, later)
        older = torch.minimum(age, torch.where(follows, MEMORY, _OLD_EVIDENCE)) + 1
        # The first pair ever weighs 1, whatever exposures without a predecessor came before.
        pairs = (torch.minimum(older, later) - 1).clamp(min=1)
        self.block = ((n - 1).clamp(min=0) % blocks).to(device)
        self.next_block = ((later - 1) % blocks).to(device)
        weight = torch.where(follows, pairs.float().reciprocal(), 0.0)
        self.pair_weight = weight.unsqueeze(1).repeat(1, 4).view(torch.complex128).view(-1)
        """Four times over in float32, for the four lanes of a row's figures."""
        self.pair_weight = self.pair_weight.to(device)
        following = later * self.PER_EXPOSURE + 2 * older + 1
        self.following = (following << self.SHIFT).to(torch.int16).to(device)
        self.share = torch.from_numpy(1.0 / _TIMES).float().to(device)
        """Reciprocal of the examples that the five bits stand for."""
        self._between = torch.from_numpy((_TIMES[1:] + _TIMES[:-1]) / 2).to(device)

    def times(self, examples: torch.Tensor) -> torch.Tensor:
        """`[M]` int16: the five bits for `examples` `[M]`, 1 at least, any number type."""
        return torch.bucketize(examples, self._between).to(torch.int16)

    def exposures(self, clock: torch.Tensor) -> torch.Tensor:
        """`[N]` int16: n of clocks `[N]` int16."""
        state = (clock.int() & 0xFFFF) >> self.SHIFT
        return (state // self.PER_EXPOSURE).to(torch.int16)
