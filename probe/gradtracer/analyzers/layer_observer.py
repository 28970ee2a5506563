"""What is kept of layers while they train, for the layers of one optimizer on one device.

Runs in the training thread around the optimizer's step. Reads nothing back to the host.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import torch

from gradtracer.analyzers.layer_modules import Layer
from gradtracer.statistics.gradient_norm import row_norms, squared_norms
from gradtracer.statistics.gradient_sketch import WIDTH, GradientSketch
from gradtracer.statistics.gradient_snr import Directions, GradientDirections
from gradtracer.statistics.step_history import Column, Slot, StepHistory
from gradtracer.statistics.unit_activity import Activity, UnitActivity
from gradtracer.statistics.update_ratio import UpdateRatio, ratio

BURST = 16
"""Steps followed in succession."""
FIRST_BURSTS = 4
"""Bursts without a pause at the start, where most happens: 64 steps."""
_COPY_AT_ONCE = 2**24
_COPY_SHARE = 8
_LEAST_OF_A_BURST = 4


class Snapshot(NamedTuple):
    """What another thread may read; never changed once made."""

    layers: tuple[Layer, ...]
    shapes: tuple[torch.Size, ...]
    """Shape of each layer's first weight."""
    slots: tuple[Slot, ...]
    activity: Activity | None
    directions: Directions | None
    reached: frozenset[int]
    """Layers that ever had a gradient, by index."""
    ready: torch.cuda.Event | None
    """Passed when the tensors above hold their values."""


class _Group(NamedTuple):
    """Layers whose weights are copied at the same step."""

    weights: list[int]
    layers: torch.Tensor
    """`[G]` their indices."""
    owner: torch.Tensor | None
    """`[weights]` position among `layers`; None when each layer has one weight."""


class LayerObserver:
    """State and statistics of L layers with P weights."""

    def __init__(
        self, layers: Sequence[Layer], *, track_interval: int, seed: int, stagnation_ratio: float
    ) -> None:
        self.layers = tuple(layers)
        self.weights = [weight for layer in layers for weight in layer.weights]
        """Held only within a burst, so that a model can be thrown away."""
        self._known = [weakref.ref(weight) for weight in self.weights]
        self.device = self.weights[0].device
        self.tracked_steps = 0
        self._owner_list = [i for i, layer in enumerate(layers) for _ in layer.names]
        self._owner = self._owners(self._owner_list, len(self.layers))
        self._interval = track_interval
        self._stagnation_ratio = stagnation_ratio
        self._phase = -(FIRST_BURSTS - 1) * BURST
        self._sketch = GradientSketch(self.device, seed)
        for weight in self.weights:
            self._sketch.make_room(weight.shape)
        self._judged = [i for i, owner in enumerate(self._owner_list) if layers[owner].has_units]
        units = [layer.weights[0].shape[0] if layer.has_units else 0 for layer in layers]
        self._activity = UnitActivity(units, self.device)
        self._directions = GradientDirections(len(self.weights), len(layers), self.device)
        self._history = StepHistory()
        self._groups = self._grouped()
        self._turn = 0
        self._reached: set[int] = set()
        self._absent: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        biased = [layer.bias is not None for layer in layers]
        self._biased = torch.tensor(biased).to(self.device, non_blocking=True)
        self._without: dict[tuple[int, ...], torch.Tensor] = {(): self._biased}
        self._first = 0
        self._begin_slot()
        self._update: tuple[UpdateRatio, _Group] | None = None
        self._shapes = tuple(layer.weights[0].shape for layer in layers)
        self._published = Snapshot(self.layers, self._shapes, (), None, None, frozenset(), None)

    def _owners(self, owners: Sequence[int], layers: int) -> torch.Tensor | None:
        if list(owners) == list(range(layers)):
            return None
        return torch.tensor(list(owners)).to(self.device, non_blocking=True)

    def _grouped(self) -> list[_Group]:
        """Groups small enough that a copy is at most 64 MiB in float32, or an eighth of all."""
        sizes = [sum(w.numel() for w in layer.weights) for layer in self.layers]
        limit = max(_COPY_AT_ONCE, sum(sizes) // _COPY_SHARE)
        parts: list[list[int]] = [[]]
        filled = 0
        for index, size in enumerate(sizes):
            if parts[-1] and filled + size > limit:
                parts.append([])
                filled = 0
            parts[-1].append(index)
            filled += size
        groups: list[_Group] = []
        for part in parts:
            weights = [i for i, owner in enumerate(self._owner_list) if owner in set(part)]
            owners = [part.index(self._owner_list[i]) for i in weights]
            groups.append(
                _Group(
                    weights,
                    torch.tensor(part).to(self.device, non_blocking=True),
                    self._owners(owners, len(part)),
                )
            )
        return groups

    def _begin_slot(self) -> None:
        shape = (len(self.layers), len(Column))
        self._sums = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self._steps_in_slot = 0
        self._start_norm: torch.Tensor | None = None

    def _to_layers(
        self, values: torch.Tensor, owner: torch.Tensor | None, layers: int
    ) -> torch.Tensor:
        """Sum over the weights of each layer. What is not finite stays in its own layer."""
        if owner is None:
            return values
        return torch.zeros(layers, dtype=values.dtype, device=self.device).index_add_(
            0, owner, values
        )

    # In the training thread.

    @property
    def at_burst_start(self) -> bool:
        """Whether the coming step is the first of a burst."""
        return self._steps_in_slot == 0 and self._phase <= 0

    def renew(self) -> bool:
        """Take hold of the weights again. False when they are others now, or elsewhere."""
        self.weights = [weight for layer in self.layers for weight in layer.weights]
        same = len(self.weights) == len(self._known) and all(
            weight is known() and weight.device == self.device
            for weight, known in zip(self.weights, self._known, strict=True)
        )
        if not same:
            self.weights = []
        return same

    def before_step(self, step: int, scale: torch.Tensor | None = None) -> None:
        """The optimizer is about to step; gradients are `scale` times too large."""
        if not self._is_tracked():
            return
        self._observe_gradients(step, scale)
        group = self._groups[self._turn % len(self._groups)]
        self._turn += 1
        self._update = (UpdateRatio([self.weights[i] for i in group.weights]), group)

    def _is_tracked(self) -> bool:
        tracked = self._phase < BURST
        self._phase += 1
        if self._phase == BURST * self._interval:
            self._phase = 0
        return tracked

    def after_step(self, step: int) -> None:
        """The optimizer has stepped."""
        if self._update is None:
            return
        update, group = self._update
        self._update = None
        self._observe_update(update, group)
        self._steps_in_slot += 1
        self.tracked_steps += 1
        if self._steps_in_slot == BURST:
            self._end_slot(step)

    def observe_by_hand(self, step: int) -> None:
        """Gradients only: a loop without an optimizer, whose updates have been made."""
        if not self._is_tracked():
            return
        self._observe_gradients(step, None)
        self._steps_in_slot += 1
        self.tracked_steps += 1
        if self._steps_in_slot == BURST:
            self._end_slot(step)

    def _observe_gradients(self, step: int, scale: torch.Tensor | None) -> None:
        if self._steps_in_slot == 0:
            self._first = step
            self._start_norm = self._weight_norms()
        rows: list[torch.Tensor] = []
        sketches: list[torch.Tensor] = []
        for index, weight in enumerate(self.weights):
            grad = weight.grad
            if grad is None or grad.is_sparse:
                norms, sketch = self._absence(index)
            else:
                self._reached.add(self._owner_list[index])
                norms, sketch = row_norms(grad), self._sketch.project(grad)
            rows.append(norms)
            sketches.append(sketch)
        by_weight = squared_norms(rows)
        z = torch.stack(sketches)
        if scale is not None:
            by_weight = by_weight / scale.double() ** 2
        count = len(self.layers)
        square = self._to_layers(by_weight, self._owner, count)
        finite, zero = torch.isfinite(square), square == 0
        sound = finite & ~zero
        log = torch.where(sound, square, 1.0).log() / 2
        self._observe_units(rows, sound, finite)
        self._observe_directions(z, sound)
        sums = self._sums
        sums[:, Column.STEPS] += 1
        sums[:, Column.NONFINITE] += ~finite
        sums[:, Column.ZERO] += zero
        sums[:, Column.LOG_NORM] += log
        sums[:, Column.LOG_NORM_SQUARE] += log.square()

    def _observe_units(
        self, rows: list[torch.Tensor], sound: torch.Tensor, finite: torch.Tensor
    ) -> None:
        """A layer without any gradient tells of its units if others have one and it has a bias."""
        biases: list[torch.Tensor] = []
        for i in self._judged:
            bias = self.layers[self._owner_list[i]].bias
            grad = bias.grad if bias is not None else None
            if grad is None or grad.device != self.device:
                biases.append(self._absence(i)[0])
            else:
                biases.append(row_norms(grad))
        absent = tuple(i for i in self._judged if self.weights[i].grad is None)
        if absent not in self._without:
            owners = {self._owner_list[i] for i in absent}
            present = torch.tensor([i not in owners for i in range(len(self.layers))])
            self._without[absent] = self._biased & present.to(self.device, non_blocking=True)
        telling = sound | (finite & sound.any() & self._without[absent])
        self._activity.add([rows[i] for i in self._judged], biases, telling)

    def _observe_directions(self, z: torch.Tensor, sound: torch.Tensor) -> None:
        count, owner = len(self.layers), self._owner
        z = torch.where((sound if owner is None else sound[owner])[:, None], z, 0.0)
        length = self._to_layers(z.square().sum(1), owner, count).sqrt()
        sound = sound & torch.isfinite(length) & (length > 0)
        scale = torch.where(sound, 1.0 / length, 0.0)
        z = torch.nan_to_num(z * (scale if owner is None else scale[owner])[:, None])
        past = self._directions.past
        u = self._to_layers((z * past).sum(1).double(), owner, count)
        self._directions.add(z, u, sound)

    def _absence(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Row norms and sketch of a weight without a dense gradient."""
        if index not in self._absent:
            self._absent[index] = (
                torch.zeros(self.weights[index].shape[0], device=self.device),
                torch.zeros(WIDTH, device=self.device),
            )
        return self._absent[index]

    def _observe_update(self, update: UpdateRatio, group: _Group) -> None:
        moved_square, weight_square = (
            self._to_layers(values, group.owner, group.layers.numel())
            for values in update.squares()
        )
        share = ratio(moved_square, weight_square)
        finite = torch.isfinite(share)
        share = torch.where(finite, share, 0.0)
        moved = share > 0
        log = torch.where(moved, share, 1.0).log()
        block = [finite, share, share.square(), moved, log, log.square()]
        block.append(share > self._stagnation_ratio)
        added = torch.stack([values.double() for values in block], dim=1)
        first, last = Column.MEASURED, Column.MOVED_ENOUGH
        self._sums[:, first : last + 1].index_add_(0, group.layers, added)

    def _weight_norms(self) -> torch.Tensor:
        squares = squared_norms([weight.detach() for weight in self.weights])
        return self._to_layers(squares, self._owner, len(self.layers)).sqrt()

    def _end_slot(self, step: int) -> None:
        self._history.append(self._slot(step))
        self._directions.look()
        self._begin_slot()
        self.weights = []
        self.publish(step)

    def _slot(self, step: int) -> Slot:
        start = self._start_norm
        end = self._weight_norms()
        ends = torch.stack([end if start is None else start, end], dim=1)
        return Slot(self._first, step, self._sums.clone(), ends)

    def publish(self, step: int) -> None:
        """Let another thread read all that there is, an unfinished burst too.

        In the training's own thread, or while it stands still.
        """
        slots = self._history.slots
        if self._steps_in_slot >= _LEAST_OF_A_BURST:
            slots = (*slots, self._slot(step))
        self._activity.publish()
        ready = None
        if self.device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(self.device))
        self._published = Snapshot(
            self.layers,
            self._shapes,
            slots,
            self._activity.published,
            self._directions.published(),
            frozenset(self._reached),
            ready,
        )

    def snapshot(self) -> Snapshot:
        """What was published last; from any thread."""
        return self._published
