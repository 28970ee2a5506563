"""What a training call was given, as far as the diagnoses rest on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradtracer.analyzers.tree_reading import Library


@dataclass
class Sample:
    """Some of the training examples, taken evenly over all of them."""

    column: Any
    """Function from a feature's index to its values `[n]`."""
    target: Any
    """`[n]`."""
    classes: bool
    """Whether the target is a class."""


@dataclass
class BoosterFacts:
    """One training call."""

    library: Library
    """Who trains."""
    kind: str
    """Class of the booster or estimator, for people."""
    total_rounds: int | None = None
    """Rounds planned."""
    first_round: int = 0
    """Rounds that an earlier training had done."""
    parameters: dict[str, float] = field(default_factory=dict[str, float])
    """Numbers that were set, under the names of `diagnoses/booster_parameters.py`."""
    stops_early: bool = False
    """Whether the library itself stops when the validation metric no longer improves."""
    stops_by_training: bool = False
    """Whether early stopping looks, or would look, at the data set that is trained on."""
    rescales: bool = False
    """DART: later rounds change the weight of earlier trees."""
    training: str | None = None
    """Name of the data set that is trained on, among those that are evaluated."""
    named: bool = True
    """False where the columns are known to have no names but those that the library gives them."""
    sample: Sample | None = None
    """Examples at hand."""
    held_out: Sample | None = None
    """Examples of the last data set that is evaluated and not trained on."""
