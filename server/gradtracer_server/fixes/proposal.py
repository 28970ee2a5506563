"""What a fix is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gradtracer_schemas import Diagnosis, FixOffer, SourceSite
from gradtracer_server.source.anchors import Anchor
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

Frame = tuple[Path, SourceText, Anchor]
"""A recorded frame as it stands in the workspace now."""

Edits = dict[Path, list[TextEdit]]
"""Edits by file; all ranges are of the texts before any edit."""


@dataclass(frozen=True)
class FixContext:
    """What a fix works from."""

    diagnosis: Diagnosis
    """The finding to remedy."""
    offer: FixOffer | None
    """The remedy to propose; None for all that the diagnosis offers, and suppression."""
    frames: Callable[[SourceSite], list[Frame]]
    """The frames of a site that lie inside the workspace, innermost first."""


@dataclass(frozen=True)
class ProposedFix:
    """A remedy that can be shown, and made when it is not disabled."""

    name: str
    """Name in the registry, e.g. `reduce-embedding-dim`."""
    title: str
    """What it does, in a line."""
    edits: Callable[[], Edits]
    """Works the edits out. Raises `EditRefused` where the result would be broken."""
    rewrites: bool = False
    """It adds structure to the code: a refactoring too, to who asks for one."""
    preferred: bool = False
    """The one to try first."""
    disabled_reason: str | None = None
    """Why it cannot be made here; None when it can."""


@dataclass(frozen=True)
class Plan:
    """A fix that applies."""

    title: str
    """What it does, in a line."""
    changes: dict[Path, tuple[SourceText, list[TextEdit]]]
    """By file, its text and the edits of it."""
    rewrites: bool = False
    """It adds structure to the code, where others set a value that stands there."""


class Fix(Protocol):
    """One file of this folder."""

    NAME: str
    """Name in the registry and in a probe's offers."""
    TITLE: str
    """What it does where no more can be said, because it does not apply."""

    @staticmethod
    def plan(context: FixContext) -> Plan:
        """Find what to edit. Raises `NotApplicable`, whose text tells the user why not."""
        ...


class LocatingFix(Fix, Protocol):
    """A fix that writes what the text may say already."""

    @staticmethod
    def locate(context: FixContext) -> None:
        """Find the place and go no further. Raises `AlreadyApplied` where the text says it."""
        ...
