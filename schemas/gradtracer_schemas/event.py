"""The envelope: one struct per kind, told apart by the `kind` field."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gradtracer_schemas.control import Controlled
from gradtracer_schemas.diagnosis import Diagnosis, DiagnosisCleared
from gradtracer_schemas.intervention import Intervention
from gradtracer_schemas.observation import Observation
from gradtracer_schemas.recipe import Recipe
from gradtracer_schemas.run import LayerWatched, ProbeFault, Progress, RunEnded, RunStarted

Count = Annotated[int, msgspec.Meta(ge=0)]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every event carries."""

    protocol: str
    """Version it was written under."""
    run: str
    """Run id, `YYYYMMDD-HHMMSS-xxxxxx` in UTC."""
    rank: Count
    """Rank of the writing process; 0 for a single process."""
    seq: Count
    """Sequence number from 0, without gaps within run and rank."""
    step: Count
    """Optimizer steps done when it was made."""
    time: float
    """Unix seconds."""


class RunStartedEvent(Envelope, frozen=True, kw_only=True, tag="run_started"):
    """Opens a run."""

    body: RunStarted
    """The program, its process and its versions."""


class LayerWatchedEvent(Envelope, frozen=True, kw_only=True, tag="layer_watched"):
    """A layer came under observation."""

    body: LayerWatched
    """The layer, its shape and where it is defined."""


class ProgressEvent(Envelope, frozen=True, kw_only=True, tag="progress"):
    """How far the training is."""

    body: Progress
    """Steps done, loss and metrics."""


class ObservationEvent(Envelope, frozen=True, kw_only=True, tag="observation"):
    """Figures of a layer."""

    body: Observation
    """The layer's latest figures."""


class DiagnosisRaisedEvent(Envelope, frozen=True, kw_only=True, tag="diagnosis_raised"):
    """A finding begins to hold."""

    body: Diagnosis
    """The finding, whole."""


class DiagnosisUpdatedEvent(Envelope, frozen=True, kw_only=True, tag="diagnosis_updated"):
    """Its figures changed."""

    body: Diagnosis
    """The finding, whole: it replaces the earlier one of the same id."""


class DiagnosisClearedEvent(Envelope, frozen=True, kw_only=True, tag="diagnosis_cleared"):
    """It no longer holds."""

    body: DiagnosisCleared
    """Which diagnosis, and why."""


class InterventionEvent(Envelope, frozen=True, kw_only=True, tag="intervention"):
    """The probe changed the training."""

    body: Intervention
    """Which rows, how much, and the measured effect."""


class ControlEvent(Envelope, frozen=True, kw_only=True, tag="control"):
    """A setting was changed from outside while the run went on."""

    body: Controlled
    """Which setting, by whom, to what."""


class RecipeEvent(Envelope, frozen=True, kw_only=True, tag="recipe"):
    """A compression recipe is ready."""

    body: Recipe
    """What to do to each layer."""


class ProbeFaultEvent(Envelope, frozen=True, kw_only=True, tag="probe_fault"):
    """Part of the probe switched itself off."""

    body: ProbeFault
    """What failed, and where."""


class RunEndedEvent(Envelope, frozen=True, kw_only=True, tag="run_ended"):
    """Closes a run."""

    body: RunEnded
    """How the run ended."""


Event = (
    RunStartedEvent
    | LayerWatchedEvent
    | ProgressEvent
    | ObservationEvent
    | DiagnosisRaisedEvent
    | DiagnosisUpdatedEvent
    | DiagnosisClearedEvent
    | InterventionEvent
    | ControlEvent
    | RecipeEvent
    | ProbeFaultEvent
    | RunEndedEvent
)

EVENT_CLASSES: tuple[type[Envelope], ...] = Event.__args__
"""Every kind, in the order of PROTOCOL.md."""
