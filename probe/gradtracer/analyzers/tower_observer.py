"""What is kept of the towers of a model while they train.

Runs in the training thread around the optimizer's step. Reads nothing back to the host; keeps no
copy of a weight but of a few coordinates, or rows, over one step.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import torch

from gradtracer.analyzers.burst import BURST
from gradtracer.analyzers.layer_observer import FIRST_BURSTS
from gradtracer.analyzers.towers import Tower
from gradtracer.statistics.tower_pace import (
    TowerBurst,
    TowerProducts,
    lagged_products,
    logarithms,
    mean_of,
)

_COORDINATES = 1_024
"""Of a layer's weight: a step's pace is then within a few percent, a burst's within one."""
_ROWS = 2**16
"""Of a table with dense gradients; smaller ones are followed whole."""
_MOST_BURSTS = 64


class Snapshot(NamedTuple):
    """What another thread may read; never changed once made."""

    bursts: tuple[TowerBurst, ...]
    products: TowerProducts | None


class _Before(NamedTuple):
    """A part of a weight before the step."""

    weight: torch.Tensor
    places: torch.Tensor | None
    """Coordinates of a layer, rows of a table; None for all rows."""
    values: torch.Tensor
    mask: torch.Tensor | None
    """`[rows]` whether the gradient reaches a row."""
    scale: float
    """Whole size over followed size."""


class TowerObserver:
    """T towers, the weights of which one optimizer or several move within a step."""

    def __init__(self, towers: Sequence[Tower], *, track_interval: int, seed: int) -> None:
        self.towers = tuple(towers)
        self.idle = 0
        """Steps until the next burst."""
        self.tracked_steps = 0
        self._parts = [(i, part) for i, tower in enumerate(towers) for part in tower.parts]
        weights = (part.weight for _, part in self._parts)
        self.device = next((w.device for w in weights if w is not None), torch.device("cpu"))
        """Of the first tower; what others measure is brought there."""
        self._interval = track_interval
        self._generator = torch.Generator().manual_seed(seed)
        self._places: dict[int, tuple[weakref.ref[torch.Tensor], torch.Tensor | None]] = {}
        self._before: list[tuple[int, _Before]] = []
        self._moves: list[list[torch.Tensor]] = []
        self._gradients: list[list[torch.Tensor]] = []
        self._skipped: torch.Tensor | None = None
        self._stepped: set[int] = set()
        self._steps: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._first = 0
        self._bursts: tuple[TowerBurst, ...] = ()
        self._products: TowerProducts | None = None
        self._finished = 0
        self.published = Snapshot((), None)

    def set_interval(self, track_interval: int) -> None:
        """Follow another share of the steps from the next burst on; from any thread."""
        self._interval = track_interval

    # In the training thread.

    def begin_step(self, step: int, optimizer: int) -> bool:
        """The optimizer with this id will step. Whether that is to be followed.

        Where it has stepped before, all others have too, and the step is complete.
        """
        if optimizer in self._stepped:
            self._stepped.clear()
            self._end_step(step)
        self._stepped.add(optimizer)
        return not self.idle

    def before_step(self, step: int, held: set[int], skipped: torch.Tensor | None = None) -> None:
        """An optimizer that holds the weights with the ids `held` will step.

        `skipped` is other than zero where it will leave the weights alone.
        """
        if not self._steps and not self._moves:
            self._first = step
        if not self._moves:
            self._moves = [[] for _ in self.towers]
            self._gradients = [[] for _ in self.towers]
        self._skipped = skipped if skipped is not None else self._skipped
        for tower, part in self._parts:
            weight = part.weight
            if weight is None or id(weight) not in held or weight.grad is None:
                continue
            grad = weight.grad.coalesce() if weight.grad.is_sparse else weight.grad
            self._before.append((tower, self._follow(weight, grad, part.table)))
            values = grad.values() if grad.is_sparse else grad
            self._gradients[tower].append(torch.linalg.vector_norm(values, dtype=torch.float32))

    @property
    def at_burst_start(self) -> bool:
        """Whether the coming step is the first of a burst."""
        return not self.idle and not self._steps

    def _follow(self, weight: torch.Tensor, grad: torch.Tensor, table: bool) -> _Before:
        whole = weight.detach()
        if grad.is_sparse:
            rows = grad.indices()[0]
            return _Before(whole, rows, whole[rows], None, 1.0)
        places = self._places_of(weight, table)
        if not table:
            assert places is not None
            return _Before(whole, places, whole.take(places), None, whole.numel() / places.numel())
        if places is None:
            return _Before(whole, None, whole.clone(), (grad != 0).any(1), 1.0)
        reached = (grad[places] != 0).any(1)
        return _Before(whole, places, whole[places], reached, len(whole) / len(places))

    def _places_of(self, weight: torch.Tensor, table: bool) -> torch.Tensor | None:
        known = self._places.get(id(weight))
        if known is not None and known[0]() is weight:
            return known[1]
        size, limit = (len(weight), _ROWS) if table else (weight.numel(), _COORDINATES)
        places = None
        if not table or size > limit:
            drawn = torch.randint(
                size, (min(size, limit),), generator=self._generator, device="cpu"
            )
            places = drawn.to(weight.device, non_blocking=True)
        self._places[id(weight)] = (weakref.ref(weight), places)
        return places

    def after_step(self) -> None:
        """The optimizer has stepped."""
        before, self._before = self._before, []
        for tower, each in before:
            self._moves[tower].append(_moved(each))

    def _end_step(self, step: int) -> None:
        if self.idle:
            # The interval may have become shorter since the burst began.
            self.idle = min(self.idle - 1, BURST * (self._interval - 1))
            return
        moves, self._moves = self._moves, []
        if not any(moves):
            return
        squares = [[n.to(self.device).double().square() for n in each] for each in self._gradients]
        nothing = torch.zeros(2, dtype=torch.float64, device=self.device)
        totals = [sum((m.to(self.device).double() for m in each), nothing) for each in moves]
        pace = torch.stack([t[0] / t[1].clamp_min(1e-30) for t in totals])
        gradient = torch.stack([sum(each, nothing[0]) for each in squares])
        if self._skipped is not None:
            pace = torch.where(self._skipped.to(self.device) != 0, torch.nan, pace)
            self._skipped = None
        self._steps.append((pace, gradient))
        self.tracked_steps += 1
        if len(self._steps) == BURST:
            self._end_burst(step)

    def _end_burst(self, step: int) -> None:
        squares = torch.stack([torch.stack(pair) for pair in self._steps])
        self._steps = []
        sound = torch.isfinite(squares).flatten(1).all(1)
        pace, gradient = logarithms(squares[:, 0]), logarithms(squares[:, 1])
        burst = TowerBurst(
            self._first, step, mean_of(pace, sound), mean_of(gradient, sound), sound.sum()
        )
        self._bursts = _thinned((*self._bursts, burst))
        products = TowerProducts(
            lagged_products(pace, sound), lagged_products(gradient, sound), sound.sum().double(), 1
        )
        old = self._products
        if old is not None:
            products = TowerProducts(
                products.pace + old.pace,
                products.gradient + old.gradient,
                products.steps + old.steps,
                old.bursts + 1,
            )
        self._products = products
        self._finished += 1
        if self._finished >= FIRST_BURSTS:
            self.idle = BURST * (self._interval - 1)
        self.published = Snapshot(self._bursts, self._products)


def _moved(before: _Before) -> torch.Tensor:
    """`[2]` float32: |dW|^2 and |W|^2 of what was followed, as if of all."""
    weight, places = before.weight, before.places
    if places is None:
        now = weight
    else:
        now = weight.take(places) if before.values.dim() == 1 else weight[places]
    change, size = (now - before.values).float().square(), now.float().square()
    if before.mask is not None:
        # torch.where, as a row that is not a number must not reach those that are.
        change = torch.where(before.mask[:, None], change, 0.0)
        size = torch.where(before.mask[:, None], size, 0.0)
    return torch.stack([change.sum(), size.sum()]) * before.scale


def _thinned(bursts: tuple[TowerBurst, ...]) -> tuple[TowerBurst, ...]:
    """Every second burst, when there are too many: the whole run stays in view."""
    return bursts if len(bursts) <= _MOST_BURSTS else (*bursts[:-1:2], bursts[-1])
