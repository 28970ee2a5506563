"""Figures of layers, computed from a snapshot of their observer by the reporting thread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gradtracer.analyzers.layer_modules import Layer
from gradtracer.analyzers.layer_observer import Snapshot
from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.statistics.gradient_snr import GradientSnr, gradient_snr
from gradtracer.statistics.log_mean import LogMean, log_mean
from gradtracer.statistics.saturation import Saturation
from gradtracer.statistics.step_history import Column
from gradtracer.statistics.unit_activity import DeadUnits, dead_units
from gradtracer_schemas import Observation

_Columns = npt.NDArray[np.float64]

_RECENT_STEPS = 64


class ModelSignal(NamedTuple):
    """What the gradients of all layers together say, of which one layer may speak."""

    strongest: float = math.inf
    """Largest z of the test for any signal, over all layers and the run so far."""
    speaker: bool = False
    """This is the layer that speaks for the model: the last one that maps its inputs."""
    gradient_norm: float = 0.0
    """Norm of all layers' gradients together in a usual burst: the root of the sum of squared
    medians."""
    silent: bool = False
    """No layer had a gradient in most of the later steps: a loss that has come to its end."""
    off: bool = False
    """Nine in ten of some layer's units are dead: those around it stand still on that account."""
    still: bool = False
    """No layer moved by more than a millionth of its weights in a usual step, of the later ones."""


class Origin(NamedTuple):
    """Where gradients that are not finite began, of which one layer speaks: the one nearest the
    loss, as a backward pass carries them on towards the inputs.
    """

    step: int
    """The first step at which any layer had one."""
    among: int
    """Layers that had one at that step."""
    of: int
    """Layers observed."""
    sound: str
    """The layer after the speaker, whose gradient was still finite; empty where there is none."""


class Vanishing(NamedTuple):
    """The gradients of this layer, and of others before it, are lost on their way from the loss."""

    strongest: str
    """The layer whose gradient is largest for its weights."""
    layers: int
    """Layers whose gradients are lost, this one the first of them."""
    of: int
    """Layers compared."""
    ratio: float
    """Gradient over weights of this layer, over that of the strongest."""
    interval: tuple[float, float]
    """95 %, by the normal law of the difference of two means of logarithms."""
    pace: float
    """The same of the update ratio."""
    n: int
    """Steps."""
    confidence: float


class LayerFigures(NamedTuple):
    """One report on a layer. Arrays are over bursts, oldest first."""

    layer: str
    normalises: bool
    """A normalisation layer."""
    fan_in: int
    """Inputs of one output unit."""
    units: int
    """Output units: the weight's first dimension."""
    first: npt.NDArray[np.int64]
    """`[B]` step before each burst."""
    last: npt.NDArray[np.int64]
    """`[B]` last step of each burst."""
    sums: _Columns
    """`[B, len(Column)]`."""
    ends: _Columns
    """`[B, 2]` norm of the weights before and after each burst."""
    reached: bool
    """Whether any tracked step had a gradient at all."""
    dead: DeadUnits | None
    snr: GradientSnr | None
    model: ModelSignal
    first_bad: int = -1
    """Step of the first gradient that was not finite; -1 where there was none."""
    origin: Origin | None = None
    """Set on the layer where such gradients began."""
    vanishing: Vanishing | None = None
    """Set on the first of the layers whose gradients are lost."""
    vanished: bool = False
    """This layer is one of them."""
    saturation: Saturation | None = None
    """Set where its output enters a saturating activation, and that was looked at often enough."""
    trainable: bool = True
    """The weights are to be trained: a layer may be frozen after it came under observation."""
    optimizer: OptimizerFacts | None = None

    def column(self, column: Column) -> _Columns:
        """`[B]` one kind of sum."""
        return self.sums[:, column]

    @property
    def sound_steps(self) -> _Columns:
        """`[B]` steps with a gradient that was finite and not zero."""
        return self.column(Column.STEPS) - self.column(Column.NONFINITE) - self.column(Column.ZERO)

    def total(self, column: Column) -> float:
        """The sum over the whole run."""
        return float(self.sums[:, column].sum())

    @property
    def steps(self) -> int:
        """Tracked steps."""
        return int(self.total(Column.STEPS))

    def recent(self, column: Column, at_least: float) -> slice:
        """The latest bursts that together hold `at_least` of a count, or all of them."""
        behind = np.cumsum(self.sums[::-1, column])
        needed = int(np.searchsorted(behind, at_least)) + 1
        return slice(max(0, len(self.sums) - needed), None)

    def update_ratio(self, bursts: slice) -> LogMean | None:
        """Geometric mean of |dW| / |W| over steps that moved the layer."""
        s = self.sums[bursts]
        return log_mean(
            float(s[:, Column.LOG_RATIO].sum()),
            float(s[:, Column.LOG_RATIO_SQUARE].sum()),
            float(s[:, Column.MOVED].sum()),
        )

    def grad_norm(self, bursts: slice) -> LogMean | None:
        """Geometric mean of the gradient's norm over steps where it was finite and not zero."""
        s = self.sums[bursts]
        return log_mean(
            float(s[:, Column.LOG_NORM].sum()),
            float(s[:, Column.LOG_NORM_SQUARE].sum()),
            float(self.sound_steps[bursts].sum()),
        )


def steps_without_gradient(figures: LayerFigures) -> tuple[int, int]:
    """Of the later half of the run, and how many steps there were."""
    sums = figures.sums[latter_half(figures)]
    return int(sums[:, Column.ZERO].sum()), int(sums[:, Column.STEPS].sum())


def latter_half(figures: LayerFigures) -> slice:
    """Bursts that began in the later half of the steps so far."""
    if not len(figures.last):
        return slice(0, None)
    middle = (int(figures.first[0]) + int(figures.last[-1])) / 2
    return slice(int(np.searchsorted(figures.first, middle)), None)


def measure(
    snapshot: Snapshot, names: Mapping[Layer, str], facts: Mapping[Layer, OptimizerFacts | None]
) -> list[LayerFigures]:
    """Figures of every layer of one observer. O(layers x bursts + units); waits for the device."""
    if snapshot.ready is not None:
        snapshot.ready.synchronize()
    if not snapshot.slots:
        return []
    sums = torch.stack([slot.sums for slot in snapshot.slots]).cpu().numpy()
    ends = torch.stack([slot.ends for slot in snapshot.slots]).cpu().numpy()
    first = np.array([slot.first for slot in snapshot.slots])
    last = np.array([slot.last for slot in snapshot.slots])
    counts = np.empty(0, dtype=np.int64)
    informative = np.zeros(len(snapshot.layers), dtype=np.int64)
    if snapshot.activity is not None:
        counts = snapshot.activity.counts.cpu().numpy().astype(np.int64)
        informative = snapshot.activity.steps.cpu().numpy().astype(np.int64)
    bad = np.full(len(snapshot.layers), -1)
    if snapshot.first_bad is not None:
        bad = snapshot.first_bad.cpu().numpy()
    directions = np.zeros((4, len(snapshot.layers)))
    if snapshot.directions is not None:
        directions = torch.stack(list(snapshot.directions)).cpu().numpy()
    found: list[LayerFigures] = []
    offset = 0
    for index, (layer, shape) in enumerate(zip(snapshot.layers, snapshot.shapes, strict=True)):
        judged = shape[0] if layer.has_units else 0
        found.append(
            LayerFigures(
                layer=names[layer],
                normalises=layer.normalises,
                fan_in=math.prod(shape[1:]),
                units=shape[0],
                first=first,
                last=last,
                sums=sums[:, index],
                ends=ends[:, index],
                reached=index in snapshot.reached,
                dead=dead_units(counts[offset : offset + judged], int(informative[index])),
                snr=gradient_snr(*(float(value) for value in directions[:, index])),
                model=ModelSignal(),
                first_bad=int(bad[index]),
                trainable=all(weight.requires_grad for weight in layer.weights),
                optimizer=facts.get(layer),
            )
        )
        offset += judged
    return found


def observation(figures: LayerFigures) -> Observation:
    """The figures by their wire names (PROTOCOL.md); those that are unknown are left out."""
    recent = figures.recent(Column.STEPS, _RECENT_STEPS)
    values: dict[str, float] = {
        "steps": figures.steps,
        "grad_nonfinite": figures.total(Column.NONFINITE),
        "grad_zero": figures.total(Column.ZERO),
        "weight_norm": float(figures.ends[-1, 1]),
    }
    for name, mean in (
        ("grad_norm", figures.grad_norm(recent)),
        ("update_ratio", figures.update_ratio(recent)),
    ):
        if mean is not None:
            low, high = mean.interval
            values |= {name: mean.value, f"{name}_low": low, f"{name}_high": high}
    snr = figures.snr
    if snr is not None:
        low, high = snr.interval
        values |= {"gradient_snr": snr.value, "gradient_snr_low": low, "gradient_snr_high": high}
    if figures.dead is not None:
        values |= {"units": figures.dead.units, "dead_units": figures.dead.unseen.dead}
    if figures.saturation is not None:
        passed = figures.saturation
        values |= {
            "units": passed.units,
            "saturated_units": passed.saturated.size,
            "activation_slope": passed.passed,
        }
    kept = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    return Observation(layer=figures.layer, values=kept, curves=_curves(figures))


def _curves(figures: LayerFigures) -> dict[str, list[float]]:
    """Geometric means of each burst, where every burst has one."""
    curves: dict[str, list[float]] = {}
    for name, total, count in (
        ("grad_norm", figures.column(Column.LOG_NORM), figures.sound_steps),
        ("update_ratio", figures.column(Column.LOG_RATIO), figures.column(Column.MOVED)),
    ):
        if len(count) > 1 and (count > 0).all():
            curves[name] = [float(value) for value in np.exp(total / count)]
    return curves
