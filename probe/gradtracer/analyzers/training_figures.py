"""Figures of the training as a whole, as its examiners see them."""

from __future__ import annotations

from typing import NamedTuple

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.learning_curve import Curve, NotNumbers
from gradtracer.statistics.kept_gradients import KeptGradients
from gradtracer.statistics.noise_floor import NoiseFloor
from gradtracer.statistics.start_share import StartShare


class TableStart(NamedTuple):
    """A table, and what has become of the values that it began with."""

    layer: str
    share: StartShare
    optimizer: OptimizerFacts
    named_by_path: bool = False
    """Whether the name is its path in the watched model, and the main optimizer trains it."""
    sparse: bool = False
    """Whether its gradients are sparse, of which no optimizer takes a weight decay."""


class TrainingFigures(NamedTuple):
    """One report on a training."""

    step: int
    """Optimizer steps done."""
    total_steps: int | None
    """Optimizer steps planned, when the user said so."""
    ended: bool
    """Whether this is the last report."""
    optimizer: OptimizerFacts | None
    """Of the largest part of the model."""
    loss: Curve | None = None
    """Training loss, as the user told it."""
    not_numbers: NotNumbers | None = None
    """Where the training loss was not finite, as the user told it."""
    broke: int = -1
    """Step at which the gradient of a layer or a table first was not finite; -1 for none."""
    validation: Curve | None = None
    """The first metric of held-out examples that the user told."""
    starts: tuple[TableStart, ...] = ()
    """The tables that began at random and are trained."""
    trains_more: bool = False
    """Whether layers are trained, too, that are not among them."""
    kept: KeptGradients | None = None
    """Whether gradients of earlier steps are still there at the next."""
    floor: NoiseFloor | None = None
    """What the wandering of the weights costs, over the later half of the run."""

    @property
    def horizon(self) -> int | None:
        """Steps of the whole run; None while nobody knows them."""
        if self.total_steps is not None and not self.ended:
            return max(self.total_steps, self.step)
        return self.step if self.ended else None
