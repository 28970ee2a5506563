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
_ENERGY, _NOISE, _AGREEMENT = 5, 6, 7
"""Of the eight lanes of 16 bits that a row has: four of the sketch, the clock, three averages."""
_LANES = 8
_LARGEST = 1e36
"""Squared gradients above it do not count as finite: a few of them would overflow."""
_KEPT = 65_536
"""Look-ups up to which the arrays of a settling are kept: 62 bytes each, 4 MiB at most."""


class NoiseEnergy:
    """Moving averages per row: `noise` V and `energy` E, in squared gradient units, `[N]` bfloat16.

    State of 16 bytes a row: the sketch in 4 bfloat16; the clock in 16 bits, with the examples of
    the last exposure; E, V and the agreement in bfloat16. An average has three digits, and moves on
    by a sixteenth of what it is off by: gradients differ by more than that. Averages are over pairs
    of exposures in succession, of weight max(1/pairs, 1/16). A gradient that is not finite, or
    whose square is not, is skipped.

    A step is first recorded (its gradient projected, O(batch)), and taken into the state together
    with others: a dozen steps cost little more operations than one. The order of a row's exposures
    is kept.

    A row's state is moved as one complex number, the largest that PyTorch has: gather and scatter
    of flat arrays are an order of magnitude faster than of rows of a matrix. A clock with tables,
    because ten small operations on integers cost more than what they are for.
    """

    def __init__(self, rows: int, dim: int, device: torch.device, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        kept = max(min(dim, _DIRECTIONS) // _BLOCK * _BLOCK, min(dim, _BLOCK))
        self._blocks = -(-kept // _BLOCK)
        directions, _ = torch.linalg.qr(
            torch.randn(dim, kept, generator=generator, dtype=torch.float32, device="cpu")
        )
        basis = torch.zeros(dim, self._blocks * _BLOCK, dtype=torch.float32, device="cpu")
        basis[:, :kept] = directions * math.sqrt(dim / kept)
        self._basis = basis.to(device)
        self.state = _zeros(rows, device)
        self._clock = ExposureClock(self._blocks, device)
        # Kept: the largest arrays of a settling, made anew, leave holes in the allocator's heap.
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._rows, self._sketches, self._stands = (StepBuffer(empty) for _ in range(3))
        self._words = StepBuffer(empty.view(torch.complex128))
        self._make_room(0)
        self._recorded = StepBuffer(
            torch.zeros(0, self._blocks * _BLOCK, device=device, dtype=torch.float32)
        )
        self._whole: list[bool] = []
        self._bad = torch.zeros((), dtype=torch.bool, device=device)
        self._may_ask = device.type == "cpu"
        # One of `blocks` blocks stands for the whole gradient.
        self._once = torch.full((_BLOCK,), float(self._blocks), device=device, dtype=torch.float32)
        self._twice = 2.0 * self._once

    @property
    def words(self) -> torch.Tensor:
        """`[2N]` int64, the state in numbers that every file format knows; a view."""
        return _halves(self.state)

    @property
    def energy(self) -> torch.Tensor:
        """`[N]` E over the same pairs, a view of the state: V/E is 1 under noise alone."""
        return self._lane(_ENERGY)

    @property
    def noise(self) -> torch.Tensor:
        """`[N]` V, a view of the state; 0 until a row has two exposures in succession."""
        return self._lane(_NOISE)

    @property
    def agreement(self) -> torch.Tensor:
        """`[N]` mean agreement of successive gradients, -1 to 1, a view of the state."""
        return self._lane(_AGREEMENT)

    @property
    def exposures(self) -> torch.Tensor:
        """`[N]` int16: exposures that followed a kept one, plus the first; stays at about 40."""
        return self.exposures_of()

    def exposures_of(self, first: int = 0, last: int | None = None) -> torch.Tensor:
        """`exposures` of the rows from `first` up to `last`."""
        return self._clock.exposures(_clocks(self.state)[first:last])

    def _lane(self, lane: int) -> torch.Tensor:
        return self.state.view(torch.bfloat16)[lane::_LANES]

    @property
    def together(self) -> int:
        """How many steps may be recorded before they must be settled.

        One where the host would have to wait for the device to learn which rows repeat.
        """
        return 16 if self._may_ask else 1

    def start_burst(self) -> None:
        """Forget the last gradients: the next exposure does not follow the one kept."""
        _clocks(self.state).bitwise_and_(~ExposureClock.KEPT)

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
        out = self._recorded.part(start, end)
        self._whole.append(at_look_ups(grad, ids, self._basis, out, given=given))

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
        squares = recorded.square().sum(dim=1)
        fine = [squares[a:b].lt(_LARGEST).all() for a, b in pairwise(bounds)]
        return ~torch.stack(fine)

    def discard(self) -> None:
        """Forget what was recorded and not yet settled."""
        self._whole.clear()

    def _take_in(
        self, ids: torch.Tensor, recorded: torch.Tensor, bounds: list[int], whole: bool
    ) -> None:
        size = ids.numel()
        if self._ones.numel() < size:
            self._make_room(size)
        rows = self._rows.part(0, size).copy_(ids)
        words = torch.index_select(self.state, 0, rows, out=self._words.part(0, size))
        # The sketches, which nobody else reads, say for a moment who stands for each row. Which of
        # a row's occurrences does is left to the device.
        sketches, halves = torch.mul(rows, 2, out=self._sketches.part(0, size)), _halves(self.state)
        halves.scatter_(0, sketches, self._places[:size])
        winner = torch.gather(halves, 0, sketches, out=self._stands.part(0, size))
        if self._may_ask:
            new = self._expose_in_turn(words, recorded, winner, bounds, whole)
        else:
            new = self._expose_at_once(words, recorded, winner, whole)
        self.state.scatter_(0, rows, new)
        if size > _KEPT:
            self._make_room(0)

    def _make_room(self, size: int) -> None:
        """For as many look-ups at once."""
        device = self.state.device
        self._places = torch.arange(size, device=device)
        self._ones = torch.ones(size, device=device, dtype=torch.float32)
        self._once_each = torch.zeros(size, dtype=torch.int16, device=device)
        for buffer in (self._rows, self._sketches, self._stands, self._words):
            buffer.resize(size)

    def _expose_in_turn(
        self,
        words: torch.Tensor,
        recorded: torch.Tensor,
        winner: torch.Tensor,
        bounds: list[int],
        whole: bool,
    ) -> torch.Tensor:
        """Words `[n]` after all exposures of each occurrence's row."""
        size = winner.numel()
        first, share, times = self._places[:size], self._ones[:size], self._once_each[:size]
        stands = winner.numpy()
        loses = np.flatnonzero(stands != first.numpy())
        if loses.size == 0:
            return self._expose(words, recorded, first, share, times)
        rows = repeated_rows(stands, loses, bounds)
        rows.average(recorded, whole=whole)
        place, examples = torch.from_numpy(rows.place), torch.from_numpy(rows.examples)
        shares, all_times = examples.float().reciprocal(), self._clock.times(examples)
        head, row = torch.from_numpy(rows.head), torch.from_numpy(rows.winner)
        # What stands for a row goes first; the row's others are computed in vain and overwritten.
        first = first.index_copy(0, row, place[head])
        share = share.index_copy(0, row, shares[head])
        times = times.index_copy(0, row, all_times[head])
        new = self._expose(words, recorded, first, share, times)
        for turn in range(1, int(rows.length.max())):
            some = torch.from_numpy(np.flatnonzero(rows.length > turn))
            again, now = row[some], head[some] + turn
            before = new.index_select(0, again)
            later = self._expose(before, recorded, place[now], shares[now], all_times[now])
            new.index_copy_(0, again, later)
        lost = torch.from_numpy(loses)
        return new.index_copy_(0, lost, new.index_select(0, winner.index_select(0, lost)))

    def _expose_at_once(
        self, words: torch.Tensor, recorded: torch.Tensor, winner: torch.Tensor, whole: bool
    ) -> torch.Tensor:
        """Words `[n]` after one step, in which each row has one exposure; asks for no size."""
        ones, places = self._ones[: winner.numel()], self._places[: winner.numel()]
        examples = torch.zeros_like(ones).scatter_add_(0, winner, ones).gather(0, winner)
        share = examples.reciprocal()
        if not whole:
            sums = torch.zeros_like(recorded).index_add_(0, winner, recorded)
            recorded = sums.index_select(0, winner)
        means = recorded * share.unsqueeze(1)
        return self._expose(words, means, places, share, self._clock.times(examples))

    def _expose(
        self,
        words: torch.Tensor,
        means: torch.Tensor,
        place: torch.Tensor,
        share: torch.Tensor,
        times: torch.Tensor,
    ) -> torch.Tensor:
        """Words `[M]` of M rows after an exposure each.

        Args:
            words: before it; written to where every gradient is finite.
            means: `[n, K]` float32, contiguous: mean gradients.
            place: `[M]` int64: where in `means` each row's is.
            share: `[M]` float32: 1 / examples in each mean.
            times: `[M]` int16: the examples, as the clock has them.
        """
        size, clock = place.numel(), self._clock
        sketch, figures = _halves_apart(words)
        # The clock is the lowest lane of the figures.
        state = (figures >> clock.SHIFT).bitwise_and_(0xFFFF >> clock.SHIFT)
        last_share = clock.share.gather(0, figures & (1 << clock.SHIFT) - 1)

        blocks = means.view(torch.complex128).view(-1)
        begins = place * self._blocks
        now = blocks.gather(0, clock.block.gather(0, state).add_(begins))
        after = blocks.gather(0, clock.next_block.gather(0, state).add_(begins))
        a = now.view(torch.float32).view(size, _BLOCK)
        # A hundredth of the memory that observing a large table may take.
        del begins, now
        b = sketch.view(torch.bfloat16).float().view(size, _BLOCK)
        # What is given where to write is left alone by autocast, in which a program may step.
        sums = means.new_empty(2, size)
        twice_product = torch.mv(a * b, self._twice, out=sums[0])
        length = torch.mv(a.square_().addcmul_(b, b), self._once, out=sums[1])
        good = length.max() < _LARGEST
        # Means over c and c' examples: their difference has 1/c + 1/c' times one's variance.
        scale = (share + last_share).reciprocal_()
        pair = length.new_zeros(size, 4)
        torch.mul(length, scale, out=pair[:, _ENERGY - 4])
        torch.mul(length - twice_product, scale, out=pair[:, _NOISE - 4])
        torch.div(twice_product, length.clamp_(min=1e-38), out=pair[:, _AGREEMENT - 4])
        averages = figures.view(torch.bfloat16).float()
        averages.lerp_(pair.view(-1), clock.pair_weight.gather(0, state).view(torch.float32))
        averages = averages.bfloat16()
        averages.view(torch.int16)[0::4] = clock.following.gather(0, state).add_(times)
        new = words
        if not (self._may_ask and good):
            self._bad = self._bad.logical_or(~good)
            new = words.clone()
        # Gradients of 1e-6 do not underflow in bfloat16, three digits are enough.
        halves = _halves(new).view(size, 2)
        halves[:, 0] = after.view(torch.float32).bfloat16().view(torch.int64)
        halves[:, 1] = averages.view(torch.int64)
        if new is words:
            return new
        # A row left out keeps its figures, but what comes next does not follow what was kept.
        _clocks(words).bitwise_and_(~ExposureClock.KEPT)
        return torch.where(length < _LARGEST, new, words)


def _halves(words: torch.Tensor) -> torch.Tensor:
    """`[2M]` int64, a view: sketch and figures of each row."""
    return words.view(torch.int64)


def _halves_apart(words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`[M]` int64 each, copies."""
    sketch, figures = _halves(words).view(-1, 2).unbind(1)
    # `contiguous` leaves a single one its stride.
    layout = torch.contiguous_format
    return sketch.clone(memory_format=layout), figures.clone(memory_format=layout)


def _clocks(words: torch.Tensor) -> torch.Tensor:
    """`[M]` int16, a view."""
    return words.view(torch.int16)[4::_LANES]


def _zeros(rows: int, device: torch.device) -> torch.Tensor:
    """`[rows]` complex128.

    On the host numpy asks for huge pages, torch does not: a batch's rows lie all over the state,
    and reading and writing them takes 41 ns each instead of 57.
    """
    if device.type != "cpu":
        return torch.zeros(rows, dtype=torch.complex128, device=device)
    state = np.empty(rows, dtype=np.complex128)
    state.fill(0)
    return torch.from_numpy(state)
