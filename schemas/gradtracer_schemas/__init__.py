"""Types of the wire format, shared by probe and server.

Imports nothing of ours and nothing heavier than msgspec.
"""

from gradtracer_schemas.catalogue import RULES
from gradtracer_schemas.connection import (
    MAX_CONNECTION_BYTES,
    Connection,
    decode_connection,
    is_loopback,
)
from gradtracer_schemas.diagnosis import (
    Comparison,
    Diagnosis,
    DiagnosisCleared,
    Evidence,
    FixOffer,
    Rows,
    Severity,
)
from gradtracer_schemas.event import (
    EVENT_CLASSES,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisUpdatedEvent,
    Envelope,
    Event,
    InterventionEvent,
    LayerWatchedEvent,
    ObservationEvent,
    ProbeFaultEvent,
    ProgressEvent,
    RecipeEvent,
    RunEndedEvent,
    RunStartedEvent,
)
from gradtracer_schemas.exceptions import (
    ConnectionFileError,
    ForeignFrame,
    FrameError,
    MalformedFrame,
    SchemaError,
    UnknownKind,
    VersionMismatch,
)
from gradtracer_schemas.frame import (
    MAX_FRAME_BYTES,
    TOPIC,
    decode_event,
    decode_frames,
    encode_event,
    encode_frames,
)
from gradtracer_schemas.intervention import Intervention, MeasuredEffect
from gradtracer_schemas.observation import Observation
from gradtracer_schemas.recipe import LayerRecipe, Recipe
from gradtracer_schemas.rule import DIAGNOSIS_TYPES, DiagnosisType, Rule
from gradtracer_schemas.run import (
    FailurePlace,
    LayerWatched,
    ProbeFault,
    Progress,
    RunEnded,
    RunOutcome,
    RunStarted,
)
from gradtracer_schemas.site import SiteOrigin, SourceFrame, SourceSite
from gradtracer_schemas.version import PROTOCOL_VERSION

__all__ = [
    "DIAGNOSIS_TYPES",
    "EVENT_CLASSES",
    "MAX_CONNECTION_BYTES",
    "MAX_FRAME_BYTES",
    "PROTOCOL_VERSION",
    "RULES",
    "TOPIC",
    "Comparison",
    "Connection",
    "ConnectionFileError",
    "Diagnosis",
    "DiagnosisCleared",
    "DiagnosisClearedEvent",
    "DiagnosisRaisedEvent",
    "DiagnosisType",
    "DiagnosisUpdatedEvent",
    "Envelope",
    "Event",
    "Evidence",
    "FailurePlace",
    "FixOffer",
    "ForeignFrame",
    "FrameError",
    "Intervention",
    "InterventionEvent",
    "LayerRecipe",
    "LayerWatched",
    "LayerWatchedEvent",
    "MalformedFrame",
    "MeasuredEffect",
    "Observation",
    "ObservationEvent",
    "ProbeFault",
    "ProbeFaultEvent",
    "Progress",
    "ProgressEvent",
    "Recipe",
    "RecipeEvent",
    "Rows",
    "Rule",
    "RunEnded",
    "RunEndedEvent",
    "RunOutcome",
    "RunStarted",
    "RunStartedEvent",
    "SchemaError",
    "Severity",
    "SiteOrigin",
    "SourceFrame",
    "SourceSite",
    "UnknownKind",
    "VersionMismatch",
    "decode_connection",
    "decode_event",
    "decode_frames",
    "encode_event",
    "encode_frames",
    "is_loopback",
]
