"""Noise and total energy of each row's gradient over its consecutive exposures.

von Neumann's mean square successive difference (Ann. Math. Stat. 12, 1941): half the expected
squared difference of neighbours estimates the noise variance and lets a slow drift cancel, so it is
right while the row still learns; under strict alternation it is twice the energy.

Direction is kept apart from size: the agreement averages 2 <a, b> / (|a|^2 + |b|^2) over pairs of
successive gradients a, b, while V and E average |a - b|^2 / 2 and (|a|^2 + |b|^2) / 2. Each pair
lies between -1 (reversal) and 1 (repetition) whatever its size, so a row with one huge gradient
among small ones does not pass for an oscillating one, as it would by the ratio V/E.

The gradient is seen through a fixed random orthonormal basis of at most 16 directions, scaled so
that squared lengths keep their expectation. Instead of the last projection a block of k = 4 of its
coordinates is kept, a different block each time.
"""

from __future__ import annotations

import math

import torch

from gradtracer.statistics.batch_rows import BatchRows, RowIndex

_BLOCK = 4
_DIRECTIONS = 16
_MEMORY = 16
_OLD_EVIDENCE = 3
"""Exposures that earlier bursts count for: steps long ago say little about the row as it is."""
_COUNT_LIMIT = 40
"""Exposures are counted to here: no verdict asks for more than 32."""
_WORDS = 3


class NoiseEnergy:
    """Moving averages per row: `noise` V and `energy` E, in squared gradient units, `[N]` float32.

    State of 24 bytes a row, in three words of 8 side by side: V and E in float32; the sketch in 4
    bfloat16; the clock in 16 bits, the reciprocal multiplicity of the last exposure in bfloat16 and
    the agreement in float32. Averages are over pairs of exposures in
    succession, of weight max(1/pairs, 1/16). A gradient that is not finite, or whose square is not,
    is skipped.

    Words, because gather and scatter of flat arrays are an order of magnitude faster than of rows
    of a matrix. A clock with tables, because ten small operations on integers cost more than what
    they are for.
    """

    def __init__(self, rows: int, dim: int, device: torch.device, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        kept = max(min(dim, _DIRECTIONS) // _BLOCK * _BLOCK, min(dim, _BLOCK))
        self._blocks = -(-kept // _BLOCK)
        directions, _ = torch.linalg.qr(torch.randn(dim, kept, generator=generator))
        basis = torch.zeros(dim, self._blocks * _BLOCK)
        basis[:, :kept] = directions * math.sqrt(dim / kept)
        self._basis = basis.to(device)
        self.state = torch.zeros(rows * _WORDS, dtype=torch.int64, device=device)
        self._clock = _Clock(self._blocks, device)
        self._word = torch.arange(_WORDS, device=device).unsqueeze(1)
        self._starts = torch.zeros(0, dtype=torch.int64, device=device)
        # One of `blocks` blocks stands for the whole gradient.
        self._once = torch.full((_BLOCK,), float(self._blocks), device=device)
        self._twice = 2.0 * self._once

    @property
    def energy(self) -> torch.Tensor:
        """`[N]` E over the same pairs, a view of the state: V/E is 1 under noise alone."""
        return self.state.view(torch.float32)[0::6]

    @property
    def noise(self) -> torch.Tensor:
        """`[N]` V, a view of the state; 0 until a row has two exposures in succession."""
        return self.state.view(torch.float32)[1::6]

    @property
    def agreement(self) -> torch.Tensor:
        """`[N]` mean agreement of successive gradients, -1 to 1, a view of the state."""
        return self.state.view(torch.float32)[5::6]

    @property
    def exposures(self) -> torch.Tensor:
        """`[N]` int16: exposures that followed a kept one, plus the first; stays at about 40."""
        return self.state.view(torch.int16)[8::12] // _Clock.PER_EXPOSURE

    def start_burst(self) -> None:
        """Forget the last gradients: the next exposure does not follow the one kept."""
        self.state.view(torch.int16)[8::12] &= ~_Clock.KEPT

    def update(self, batch: BatchRows, grad: torch.Tensor, index: RowIndex) -> torch.Tensor:
        """Take in one step.

        Args:
            batch: the step's rows, B occurrences, at least one.
            grad: the table's gradient, dense `[N, D]` or sparse.
            index: what grouped the batch.

        Returns:
            `[]` bool: whether any row's gradient in the batch was not finite.
        """
        size = batch.ids.numel()
        if self._starts.numel() < size:
            self._starts = torch.arange(size, device=batch.ids.device) * self._blocks
        place = (batch.ids * _WORDS + self._word).view(-1)
        words = self.state.index_select(0, place).view(_WORDS, size)
        averages, sketch, last = words.unbind()
        tick, last_share = self._clock_fields(last)
        energy, noise = averages.view(torch.float32).view(size, 2).unbind(1)
        agreement = last.view(torch.float32)[1::2]

        mean = index.totals(grad, batch, self._basis)
        share = batch.count
        if batch.repeats is None or batch.repeats.numel():
            share = batch.count.reciprocal()
            mean = mean.mul_(share.unsqueeze(1))
        # Four bfloat16 are one word: gradients of 1e-6 do not underflow, three digits are enough.
        sketches = mean.bfloat16().view(torch.int64).view(-1)
        state = tick.long()
        starts = self._starts[:size]
        now = sketches.gather(0, self._clock.block.gather(0, state).add_(starts))
        after = sketches.gather(0, self._clock.next_block.gather(0, state).add_(starts))
        a = now.view(torch.bfloat16).float().view(size, _BLOCK)
        b = sketch.view(torch.bfloat16).float().view(size, _BLOCK)
        twice_product = (a * b) @ self._twice
        length = a.square_().addcmul_(b, b) @ self._once
        finite = length < 1e36
        # Means over c and c' examples: their difference has 1/c + 1/c' times one's variance.
        scale = (share + last_share).reciprocal_()
        weight = self._clock.pair_weight.gather(0, state)
        energy.lerp_(length * scale, weight)
        noise.lerp_(scale.mul_(length - twice_product), weight)
        agreement.lerp_(twice_product.div_(length.clamp_(min=1e-38)), weight)
        sketch.copy_(after)
        tick.copy_(self._clock.following.gather(0, state))
        last_share.copy_(share)
        good = finite.all()
        if batch.repeats is None or not good:
            # A row left out keeps its figures, but what comes next does not follow what was kept.
            old = self.state.index_select(0, place).view(_WORDS, size)
            self._clock_fields(old[2])[0].bitwise_and_(~_Clock.KEPT)
            words = torch.where(finite, words, old)
        self.state.scatter_(0, place, words.view(-1))
        return ~good

    @staticmethod
    def _clock_fields(word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Views `[B]` of the clock, int16, and of the reciprocal multiplicity, bfloat16."""
        return word.view(torch.int16)[0::4], word.view(torch.bfloat16)[1::4]


class _Clock:
    """What an exposure does to a row, as tables over the 2 x 18 x 41 states a row may be in.

    A state is (n exposures, age, whether the last gradient was kept), as one number. The age weighs
    the averages, 1/(age - 1) for the pair that ends here: it grows with each exposure that follows
    to 17, and falls back to 4 with one that does not.
    """

    KEPT = 1
    PER_EXPOSURE = 2 * (_MEMORY + 2)

    def __init__(self, blocks: int, device: torch.device) -> None:
        state = torch.arange((_COUNT_LIMIT + 1) * self.PER_EXPOSURE)
        n, age = state // self.PER_EXPOSURE, state % self.PER_EXPOSURE // 2
        follows = (state & self.KEPT).bool()
        later = torch.where(follows | (n == 0), n + 1, n)
        # Back by whole periods, so that the sequence of blocks never jumps.
        later = torch.where(later > _COUNT_LIMIT, later - 2 * blocks, later)
        older = torch.minimum(age, torch.where(follows, _MEMORY, _OLD_EVIDENCE)) + 1
        # The first pair ever weighs 1, whatever exposures without a predecessor came before.
        pairs = (torch.minimum(older, later) - 1).clamp(min=1)
        self.block = ((n - 1).clamp(min=0) % blocks).to(device)
        self.next_block = ((later - 1) % blocks).to(device)
        self.pair_weight = torch.where(follows, 1.0 / pairs, 0.0).to(device)
        following = later * self.PER_EXPOSURE + 2 * older + self.KEPT
        self.following = following.to(torch.int16).to(device)
