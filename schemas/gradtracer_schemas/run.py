"""The life of one observed run: start, layers, progress, end."""

from __future__ import annotations

from typing import Literal

import msgspec

from gradtracer_schemas.site import SourceSite

RunOutcome = Literal["finished", "interrupted", "failed"]
"""How a run ended."""


class RunStarted(msgspec.Struct, frozen=True, kw_only=True):
    """First event of a run."""

    root: str
    """Folder that holds `.gradtracer`, absolute; files below it may be edited by fixes."""
    script: str
    """The program, as in `sys.argv[0]`; `-` in a notebook or shell."""
    argv: list[str]
    """Its arguments."""
    pid: int
    """Process id on `host`."""
    host: str
    """Host name."""
    process_started: str = ""
    """Start stamp of the process as the operating system gives it; tells a reused pid."""
    versions: dict[str, str] = {}
    """`gradtracer`, `python`, `torch`."""
    watch: SourceSite = SourceSite()
    """The call that started the run."""
    world_size: int = 1
    """Number of ranks."""


class LayerWatched(msgspec.Struct, frozen=True, kw_only=True):
    """A layer came under observation."""

    layer: str
    """Dotted path, unique in the run."""
    type: str
    """Class name, e.g. `Embedding`."""
    shape: list[int]
    """Shape of its weight."""
    dtype: str
    """`float32`, …"""
    device: str
    """`cpu`, `cuda:0`, …"""
    trainable: bool = True
    """False: frozen; only its exposure is measured."""
    site: SourceSite = SourceSite()
    """Where it is defined."""
    watch: SourceSite = SourceSite()
    """The call that put it under observation."""
    settings: dict[str, bool | int | float | str] = {}
    """The observation's settings that fixes may change: `auto_fix`, `track_interval`."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the training is. A newer one replaces an older one."""

    step: int
    """Optimizer steps done."""
    total_steps: int | None = None
    """Optimizer steps planned, when the user said so."""
    steps_per_second: float | None = None
    """Over the last report."""
    loss: float | None = None
    """Latest loss, when the user gave one; not finite is left out."""
    metrics: dict[str, float] = {}
    """Latest metrics the user gave."""


class FailurePlace(msgspec.Struct, frozen=True, kw_only=True):
    """The exception that ended a run."""

    exception: str
    """Class name."""
    message: str
    """Its text, at most 2,000 characters."""
    file: str = ""
    """File of the innermost frame in the user's own code."""
    line: int = 0
    """Line there, from 1; 0 when unknown."""
    site: SourceSite = SourceSite()
    """The statements in the user's own code that were being executed, innermost first."""


class RunEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Last event of a run. A run without one whose process is gone ended without a goodbye."""

    outcome: RunOutcome
    """How it ended."""
    reason: str = ""
    """In a sentence: the signal, or the exception."""
    failure: FailurePlace | None = None
    """For `failed`."""
    lost: int = 0
    """Events that could be written nowhere."""


class ProbeFault(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the probe failed and switched itself off; training went on."""

    layer: str
    """Layer it observed; empty for the run as a whole."""
    message: str
    """What failed, in a sentence."""
    traceback: str = ""
    """For a bug report."""
