"""What is kept of layers while they train, for the layers of one optimizer on one device.

Runs in the training thread around the optimizer's step. Reads nothing back from a device: on the
CPU alone, where a number can be had without waiting, every step looks whether gradients are finite.

Longer than most modules, as what a step writes down and what a burst makes of it must agree.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from gradtracer.analyzers.burst import BURST, Burst, Soundness
from gradtracer.analyzers.layer_modules import Layer
from gradtracer.analyzers.weight_groups import WeightGroup, weight_groups
from gradtracer.statistics.by_layer import to_layers
from gradtracer.statistics.gradient_norm import norms, row_norms
from gradtracer.statistics.gradient_sample import WIDTH, GradientSample
from gradtracer.statistics.gradient_snr import Directions, GradientDirections
from gradtracer.statistics.step_history import Slot, StepHistory
from gradtracer.statistics.unit_activity import Activity, UnitActivity
from gradtracer.statistics.update_ratio import Movement

FIRST_BURSTS = 4
"""Bursts without a pause at the start, where most happens: 64 steps."""
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
    first_bad: torch.Tensor | None
    """`[L]` int64: step of the first gradient that was not finite; -1 where there was none."""
    ready: torch.cuda.Event | None
    """Passed when the tensors above hold their values."""


class LayerObserver:
    """State and statistics of L layers with P weights."""

    def __init__(
        self, layers: Sequence[Layer], *, track_interval: int, seed: int, stagnation_ratio: float
    ) -> None:
        self.layers = tuple(layers)
        self.idle = 0
        """Steps until the next burst."""
        self.tracked_steps = 0
        self._weights = [weight for layer in layers for weight in layer.weights]
        """Held only within a burst, so that a model can be thrown away."""
        self._known = [weakref.ref(weight) for weight in self._weights]
        self._shapes = tuple(layer.weights[0].shape for layer in layers)
        self.device = self._weights[0].device
        self._owner_list = [i for i, layer in enumerate(layers) for _ in layer.names]
        plain = self._owner_list == list(range(len(layers)))
        self._owner = None if plain else self._on_device(self._owner_list)
        self._interval = track_interval
        self._stagnation_ratio = stagnation_ratio
        self._bursts = 0
        sample = GradientSample(self.device, seed)
        self._places = [sample.places(weight.numel()) for weight in self._weights]
        self._judged = [i for i, owner in enumerate(self._owner_list) if layers[owner].has_units]
        self._units = [shape[0] if layer.has_units else 0 for layer, shape in self._by_layer()]
        self._activity = UnitActivity(self._units, self.device)
        self._directions = GradientDirections(len(self._weights), len(layers), self.device)
        self._history = StepHistory()
        self._groups = weight_groups(layers, self.device)
        self._movement: tuple[Movement, WeightGroup] | None = None
        self._measuring = False
        self._reached: set[int] = set()
        self._zero = torch.zeros((), device=self.device, dtype=torch.float32)
        self._no_sample = torch.zeros(WIDTH, device=self.device, dtype=torch.float32)
        self._no_rows: dict[int, torch.Tensor] = {}
        self._first_bad = torch.full((len(layers),), -1, dtype=torch.int64, device=self.device)
        self._sentinel = self._find_sentinel()
        self._take_hold()
        self._burst: Burst | None = None
        self._first = 0
        self._published = Snapshot(
            self.layers, self._shapes, (), None, None, frozenset(), None, None
        )

    def _by_layer(self) -> zip[tuple[Layer, torch.Size]]:
        return zip(self.layers, self._shapes, strict=True)

    def _on_device(self, values: Sequence[int] | Sequence[bool]) -> torch.Tensor:
        return torch.tensor(list(values), device="cpu").to(self.device, non_blocking=True)

    def _find_sentinel(self) -> weakref.ref[torch.Tensor] | None:
        """The bias or weight nearest the input: what is not finite in a backward pass ends there.

        On a device that computes while the host goes on, reading it would make the training wait.
        """
        first = self.layers[0]
        if self.device.type != "cpu":
            return None
        return weakref.ref(first.bias if first.bias is not None else first.weights[0])

    def _take_hold(self) -> None:
        self._biases = [self.layers[self._owner_list[i]].bias for i in self._judged]
        biased = [layer.bias is not None for layer in self.layers]
        self._biased = self._on_device(biased)
        self._plain = all(w.dtype == torch.float32 for w in self._weights)

    def set_interval(self, track_interval: int) -> None:
        """Follow another share of the steps from the next burst on; from any thread."""
        self._interval = track_interval

    # In the training thread.

    @property
    def at_burst_start(self) -> bool:
        """Whether the coming step is the first of a burst."""
        return self.idle == 0 and self._burst is None

    def renew(self) -> bool:
        """Take hold of the weights again. False when they are others now, or elsewhere."""
        self._weights = [weight for layer in self.layers for weight in layer.weights]
        same = len(self._weights) == len(self._known) and all(
            weight is known() and weight.device == self.device
            for weight, known in zip(self._weights, self._known, strict=True)
        )
        if not same:
            self._weights = []
            return False
        self._take_hold()
        return True

    def rest(self, step: int, skipped: torch.Tensor | None) -> None:
        """Let a step between two bursts go by."""
        # The interval may have become shorter since the burst began.
        self.idle = min(self.idle - 1, BURST * (self._interval - 1))
        sentinel = self._sentinel() if self._sentinel is not None else None
        grad = sentinel.grad if sentinel is not None else None
        if grad is None or grad.layout != torch.strided:
            return
        if not math.isfinite(grad.sum().item()) and (skipped is None or not skipped.item()):
            self._sentinel = None
            self._locate(step)

    def _locate(self, step: int) -> None:
        weights = [weight for layer in self.layers for weight in layer.weights]
        grads = [self._zero if w.grad is None or w.grad.is_sparse else w.grad for w in weights]
        if len(grads) == len(self._owner_list):
            square = to_layers(torch.stack(norms(grads))[None], self._owner, len(self.layers))
            self._note_bad(~torch.isfinite(square), self._on_device([step]))
            self.publish(step)

    def _note_bad(self, bad: torch.Tensor, steps: torch.Tensor) -> None:
        """`[S, L]` bool at the `[S]` steps."""
        first = steps[bad.to(torch.int8).argmax(0)]
        news = bad.any(0) & (self._first_bad < 0)
        self._first_bad = torch.where(news, first, self._first_bad)

    def before_step(
        self, step: int, scale: torch.Tensor | None = None, skipped: torch.Tensor | None = None
    ) -> None:
        """The optimizer is about to step; gradients are `scale` times too large.

        `skipped` is other than zero where it will leave the weights alone.
        """
        burst = self._observe_gradients(step, scale, skipped)
        group = self._groups[self.tracked_steps % len(self._groups)]
        if self._movement is None or self._movement[1] is not group:
            self._movement = Movement([self._weights[i] for i in group.weights]), group
        self._movement[0].before()
        self._measuring = burst.steps < BURST

    @property
    def measuring(self) -> bool:
        """Whether `after_step` is to be called for this step."""
        return self._measuring

    def after_step(self, step: int) -> None:
        """The optimizer has stepped."""
        burst = self._burst
        self._measuring = False
        if burst is None or self._movement is None:
            return
        movement, group = self._movement
        moved, weight = movement.after()
        if len(self._groups) == 1:
            burst.moved[burst.steps], burst.weight[burst.steps] = moved, weight
        else:
            burst.moved[burst.steps].index_copy_(0, group.places, moved)
            burst.weight[burst.steps].index_copy_(0, group.places, weight)
        self._stepped(burst, step)

    def observe_by_hand(self, step: int) -> None:
        """Gradients only: a loop without an optimizer, whose updates have been made."""
        if self.idle:
            self.rest(step, None)
            return
        self._stepped(self._observe_gradients(step, None, None), step)

    def _observe_gradients(
        self, step: int, scale: torch.Tensor | None, skipped: torch.Tensor | None
    ) -> Burst:
        burst = self._burst
        if burst is None:
            burst = self._burst = Burst(len(self._weights), sum(self._units), self.device)
            burst.start_norm = self._weight_norms()
            self._first = step
        at = burst.steps
        burst.note_scaler(scale, skipped)
        grads = [weight.grad for weight in self._weights]
        absent = tuple(i for i, grad in enumerate(grads) if grad is None or grad.is_sparse)
        # A step that raised was written down and did not happen.
        burst.absent[at:] = [absent]
        if len(self._reached) < len(self.layers):
            self._reached.update(o for i, o in enumerate(self._owner_list) if i not in absent)
        dense = [self._zero if i in absent or g is None else g for i, g in enumerate(grads)]
        torch.stack(norms(dense), out=burst.gradient[at])
        torch.stack(
            [
                self._no_sample if i in absent else GradientSample.take(grad, places)
                for i, (grad, places) in enumerate(zip(dense, self._places, strict=True))
            ],
            out=burst.samples[at],
        )
        if self._judged:
            rows = [
                self._unit_gradients(i, bias, i in absent)
                for i, bias in zip(self._judged, self._biases, strict=True)
            ]
            torch.ne(torch.cat(rows), 0, out=burst.active[at])
        return burst

    def _unit_gradients(self, index: int, bias: torch.Tensor | None, absent: bool) -> torch.Tensor:
        """`[O]` numbers that are zero for units without a gradient."""
        grad = bias.grad if bias is not None else None
        if grad is not None and grad.device == self.device:
            return grad
        if not absent:
            weight = self._weights[index].grad
            assert weight is not None
            return row_norms(weight)
        if index not in self._no_rows:
            self._no_rows[index] = torch.zeros(
                self._weights[index].shape[0], device=self.device, dtype=torch.float32
            )
        return self._no_rows[index]

    def _weight_norms(self) -> torch.Tensor:
        """`[L]` float64."""
        squares = torch.stack(norms([w.detach() for w in self._weights])).double().square()
        return to_layers(squares[None], self._owner, len(self.layers))[0].sqrt()

    def _stepped(self, burst: Burst, step: int) -> None:
        burst.steps += 1
        self.tracked_steps += 1
        if burst.steps == BURST:
            self._end(burst, step)

    def _end(self, burst: Burst, step: int) -> None:
        self._history.append(self._slot(burst, step))
        worth = burst.soundness(burst.gradient_squares(self._owner, len(self.layers)))
        self._directions.add(burst.samples[: burst.steps], worth.sound, self._owner)
        self._activity.add(burst.active[: burst.steps], self._telling(burst, worth))
        self._burst = self._movement = None
        self._weights, self._biases = [], []
        self._bursts += 1
        if self._bursts >= FIRST_BURSTS:
            self.idle = burst.steps * (self._interval - 1)
        self.publish(step)

    def state_dict(self, step: int) -> dict[str, Any]:
        """All that a later process needs to go on; waits for the device. Ends a burst under way."""
        if self._burst is not None and self._burst.steps:
            self._end(self._burst, step)
        return {
            "history": self._history.state_dict(step),
            "activity": self._activity.state_dict(),
            "directions": self._directions.state_dict(),
            "reached": sorted(self._reached),
            "tracked_steps": self.tracked_steps,
            "bursts": self._bursts,
        }

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go on from the state of an observer of the same layers. Raises KeyError.

        Where gradients broke is not taken over: the weights are those of before that.
        """
        self._history.load_state_dict(state["history"], step, self.device)
        self._activity.load_state_dict(state["activity"])
        self._directions.load_state_dict(state["directions"])
        self._reached = set(state["reached"])
        self.tracked_steps = int(state["tracked_steps"])
        self._bursts = int(state["bursts"])
        self.publish(step)

    def _telling(self, burst: Burst, worth: Soundness) -> torch.Tensor:
        """A layer without any gradient tells of its units if others have one and it has a bias."""
        silent = worth.finite & worth.sound.any(1, keepdim=True) & self._biased
        for at, absent in enumerate(burst.absent[: burst.steps]):
            for index in absent:
                silent[at, self._owner_list[index]] = False
        return worth.sound | silent

    def _slot(self, burst: Burst, step: int) -> Slot:
        worth = burst.soundness(burst.gradient_squares(self._owner, len(self.layers)))
        steps = torch.arange(self._first, self._first + burst.steps, device="cpu")
        self._note_bad(~worth.finite & worth.counted, steps.to(self.device, non_blocking=True))
        sums = burst.sums(self._owner, len(self.layers), self._stagnation_ratio)
        end = self._weight_norms()
        start = end if burst.start_norm is None else burst.start_norm
        return Slot(self._first, step, sums, torch.stack([start, end], dim=1))

    def publish(self, step: int) -> None:
        """Let another thread read all that there is, an unfinished burst too.

        In the training's own thread, or while it stands still.
        """
        slots, burst = self._history.slots, self._burst
        if burst is not None and burst.steps >= _LEAST_OF_A_BURST:
            slots = (*slots, self._slot(burst, step))
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
            self._first_bad,
            ready,
        )

    def snapshot(self) -> Snapshot:
        """What was published last; from any thread."""
        return self._published
