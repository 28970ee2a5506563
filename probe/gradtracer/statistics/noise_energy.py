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
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import torch

from gradtracer.statistics.exposure_clock import ExposureClock
from gradtracer.statistics.repeated_rows import repeated_rows
from gradtracer.statistics.step_buffer import StepBuffer
from gradtracer.statistics.step_gradient import at_look_ups

_BLOCK = 4
_DIRECTIONS = 16
_WORDS = 3
_LARGEST = 1e36
"""Squared gradients above it do not count as finite: a few of them would overflow."""
_KEPT = 65_536
"""Look-ups up to which the arrays of a settling are kept: 68 bytes each, 4 MiB at most."""


class NoiseEnergy:
    """Moving averages per row: `noise` V and `energy` E, in squared gradient units, `[N]` float32.

    State of 24 bytes a row, in three words of 8 side by side: V and E in float32; the sketch in 4
    bfloat16; the clock in 16 bits, the reciprocal multiplicity of the last exposure in bfloat16 and
    the agreement in float32. Averages are over pairs of exposures in
    succession, of weight max(1/pairs, 1/16). A gradient that is not finite, or whose square is not,
    is skipped.

    A step is first recorded (its gradient projected, O(batch)), and taken into the state together
    with others: a dozen steps cost little more operations than one. The order of a row's exposures
    is kept.

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
        self.state = _zeros(rows * _WORDS, device)
        self._clock = ExposureClock(self._blocks, device)
        self._word = torch.arange(_WORDS, device=device).unsqueeze(1)
        # Kept: the largest arrays of a settling, made anew, leave holes in the allocator's heap.
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._at, self._words = StepBuffer(empty), StepBuffer(empty)
        self._stands = StepBuffer(empty)
        self._make_room(0)
        # Four bfloat16 are one word: gradients of 1e-6 do not underflow, three digits are enough.
        self._recorded = StepBuffer(
            torch.zeros(0, self._blocks * _BLOCK, dtype=torch.bfloat16, device=device)
        )
        self._projected = StepBuffer(torch.zeros(0, self._blocks * _BLOCK, device=device))
        self._whole: list[bool] = []
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        self._may_ask = device.type == "cpu"
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
        return self.exposures_of()

    def exposures_of(self, first: int = 0, last: int | None = None) -> torch.Tensor:
        """`exposures` of the rows from `first` up to `last`."""
        return self.state.view(torch.int16)[8::12][first:last] // ExposureClock.PER_EXPOSURE

    @property
    def together(self) -> int:
        """How many steps may be recorded before they must be settled.

        One where the host would have to wait for the device to learn which rows repeat.
        """
        return 16 if self._may_ask else 1

    def start_burst(self) -> None:
        """Forget the last gradients: the next exposure does not follow the one kept."""
        self.state.view(torch.int16)[8::12] &= ~ExposureClock.KEPT

    def record(
        self,
        start: int,
        ids: torch.Tensor,
        grad: torch.Tensor,
        given: torch.Tensor | None = None,
    ) -> None:
        """Keep what one step shows until `settle`.

        Args:
            start: look-ups recorded since then.
            ids: `[B]` int64, the step's look-ups, at least one.
            grad: the table's gradient, dense `[N, D]` or sparse.
            given: as `at_look_ups` takes it.
        """
        end = start + ids.numel()
        if self._recorded.size < end:
            self._recorded.resize(max(end, 2 * start), keep=start)
        if self._projected.size < end - start:
            self._projected.resize(end - start)
        projected = self._projected.part(0, end - start)
        self._whole.append(at_look_ups(grad, ids, self._basis, projected, given=given))
        self._recorded.part(start, end).copy_(projected)

    def settle(self, ids: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor | None:
        """Take what was recorded into the state.

        Args:
            ids: `[n]` int64 or int32, the look-ups of all recorded steps, one step at least.
            bounds: where each step begins among them, and where the last one ends.

        Returns:
            `[S]` bool: the steps in which a gradient in the batch was not finite. None where it is
            known that there was none.
        """
        self._bad = torch.zeros((), dtype=torch.bool, device=ids.device)
        recorded = self._recorded.whole[: bounds[-1]]
        step = 0
        for whole, run in groupby(self._whole):
            part = bounds[step : step + len(list(run)) + 1]
            step += len(part) - 1
            steps = slice(part[0], part[-1])
            part = [end - steps.start for end in part]
            self._take_in(ids[steps], recorded[steps], part, whole)
        self.discard()
        if not self._may_ask:
            return self._bad.reshape(1)
        if not self._bad:
            return None
        squares = recorded.float().square_().sum(dim=1)
        fine = [squares[a:b].lt(_LARGEST).all() for a, b in pairwise(bounds)]
        return ~torch.stack(fine)

    def discard(self) -> None:
        """Forget what was recorded and not yet settled."""
        self._whole.clear()

    def _take_in(
        self, ids: torch.Tensor, recorded: torch.Tensor, bounds: list[int], whole: bool
    ) -> None:
        size = ids.numel()
        if self._places.numel() < size:
            self._make_room(size)
        places, ones = self._places[:size], self._ones[:size]
        at, words = self._at.part(0, _WORDS * size), self._words.part(0, _WORDS * size)
        torch.add(self._word, ids, alpha=_WORDS, out=at.view(_WORDS, size))
        words = torch.index_select(self.state, 0, at, out=words).view(_WORDS, size)
        # The sketches, which nobody else reads, say for a moment who stands for each row. Which of
        # a row's occurrences does is left to the device.
        sketches = at[size : 2 * size]
        self.state.scatter_(0, sketches, places)
        winner = torch.gather(self.state, 0, sketches, out=self._stands.part(0, size))
        if self._may_ask:
            new = self._expose_in_turn(words, recorded, winner, bounds, whole)
        else:
            means, share = _means_everywhere(recorded, winner, ones, whole)
            new = self._expose(words, means, places, share)
        self.state.scatter_(0, at, new.view(-1))
        if size > _KEPT:
            self._make_room(0)

    def _make_room(self, size: int) -> None:
        """For as many look-ups at once."""
        device = self.state.device
        self._places = torch.arange(size, device=device)
        self._ones = torch.ones(size, device=device)
        self._at.resize(_WORDS * size)
        self._words.resize(_WORDS * size)
        self._stands.resize(size)

    def _expose_in_turn(
        self,
        words: torch.Tensor,
        recorded: torch.Tensor,
        winner: torch.Tensor,
        bounds: list[int],
        whole: bool,
    ) -> torch.Tensor:
        """Words `[3, n]` after all exposures of each occurrence's row."""
        size = winner.numel()
        places, ones = self._places[:size], self._ones[:size]
        stands = winner.numpy()
        loses = np.flatnonzero(stands != places.numpy())
        if loses.size == 0:
            return self._expose(words, recorded, places, ones)
        rows = repeated_rows(stands, loses, bounds)
        rows.average(recorded, whole=whole)
        # What stands for a row goes first; the row's others are computed in vain and overwritten.
        first, share = places.numpy().copy(), ones.numpy().copy()
        first[rows.winner] = rows.place[rows.head]
        share[rows.winner] = 1.0 / rows.examples[rows.head]
        new = self._expose(words, recorded, torch.from_numpy(first), torch.from_numpy(share))
        for turn in range(1, int(rows.length.max())):
            some = rows.length > turn
            exposure, column = rows.head[some] + turn, torch.from_numpy(rows.winner[some])
            share = 1.0 / torch.from_numpy(rows.examples[exposure])
            place = torch.from_numpy(rows.place[exposure])
            later = self._expose(new.index_select(1, column), recorded, place, share)
            new.index_copy_(1, column, later)
        lost = torch.from_numpy(loses)
        return new.index_copy_(1, lost, new.index_select(1, winner.index_select(0, lost)))

    def _expose(
        self, words: torch.Tensor, means: torch.Tensor, place: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """Words `[3, M]` of M rows after an exposure each.

        Args:
            words: before it; written to where every gradient is finite.
            means: `[n, K]` bfloat16, contiguous: mean gradients.
            place: `[M]` int64: where in `means` each row's is.
            share: `[M]` float32: 1 / examples in each mean.
        """
        size = place.numel()
        averages, sketch, last = words.unbind()
        tick, last_share = self._clock_fields(last)

        blocks, state = means.view(torch.int64).view(-1), tick.long()
        begins = place * self._blocks
        now = blocks.gather(0, self._clock.block.gather(0, state).add_(begins))
        after = blocks.gather(0, self._clock.next_block.gather(0, state).add_(begins))
        a = now.view(torch.bfloat16).float().view(size, _BLOCK)
        # A hundredth of the memory that observing a large table may take.
        del begins, now
        b = sketch.view(torch.bfloat16).float().view(size, _BLOCK)
        twice_product = (a * b) @ self._twice
        length = a.square_().addcmul_(b, b) @ self._once
        finite = length < _LARGEST
        good = finite.all()
        new = words
        if not (self._may_ask and good):
            self._bad = self._bad.logical_or(~good)
            new = words.clone()
            averages, sketch, last = new.unbind()
            tick, last_share = self._clock_fields(last)
        energy, noise = averages.view(torch.float32).view(size, 2).unbind(1)
        agreement = last.view(torch.float32)[1::2]
        # Means over c and c' examples: their difference has 1/c + 1/c' times one's variance.
        scale = (share + last_share).reciprocal_()
        weight = self._clock.pair_weight.gather(0, state)
        energy.lerp_(length * scale, weight)
        noise.lerp_(scale.mul_(length - twice_product), weight)
        agreement.lerp_(twice_product.div_(length.clamp_(min=1e-38)), weight)
        sketch.copy_(after)
        tick.copy_(self._clock.following.gather(0, state))
        last_share.copy_(share)
        if new is words:
            return new
        # A row left out keeps its figures, but what comes next does not follow what was kept.
        self._clock_fields(words[2])[0].bitwise_and_(~ExposureClock.KEPT)
        return torch.where(finite, new, words)

    @staticmethod
    def _clock_fields(word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Views `[M]` of the clock, int16, and of the reciprocal multiplicity, bfloat16."""
        return word.view(torch.int16)[0::4], word.view(torch.bfloat16)[1::4]


def _zeros(words: int, device: torch.device) -> torch.Tensor:
    """`[words]` int64.

    On the host numpy asks for huge pages, torch does not: a batch's rows lie all over the state,
    and reading and writing them takes 41 ns each instead of 57.
    """
    if device.type != "cpu":
        return torch.zeros(words, dtype=torch.int64, device=device)
    state = np.empty(words, dtype=np.int64)
    state.fill(0)
    return torch.from_numpy(state)


def _means_everywhere(
    recorded: torch.Tensor, winner: torch.Tensor, ones: torch.Tensor, whole: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gradient of each occurrence's row, and its share, of one step; asks for no size."""
    share = torch.zeros_like(ones).scatter_add_(0, winner, ones).gather(0, winner).reciprocal_()
    values = recorded.float()
    if not whole:
        values = torch.zeros_like(values).index_add_(0, winner, values).index_select(0, winner)
    return values.mul_(share.unsqueeze(1)).bfloat16(), share
