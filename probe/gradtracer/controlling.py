"""What a live run does when it is asked to: change a setting, report now; audited and streamed.

In the reporting thread. Trackers adopt a new setting in the training thread, at their next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gradtracer.audit import AutoFixAuditLogger
from gradtracer.ranks import place_among_ranks
from gradtracer_schemas import (
    ControlEvent,
    Controlled,
    ControlRequest,
    LayerWatched,
    LayerWatchedEvent,
    ReportNow,
    RequestRefused,
    SetAutoFix,
    SetTrackInterval,
)

if TYPE_CHECKING:
    from gradtracer.reporting import Tracker
    from gradtracer.run import Run

_MOST_NAMES = 64


@runtime_checkable
class Paced(Protocol):
    """A tracker that follows a share of the steps."""

    track_interval: int
    """The share is 1/track_interval."""

    def set_track_interval(self, interval: int) -> None:
        """Follow another share from the next burst on; from any thread."""
        ...

    def declarations(self) -> Sequence[LayerWatched]:
        """What it observes, with the settings as they are now."""
        ...


@runtime_checkable
class AutoFixes(Protocol):
    """A tracker of a table whose updates auto-fix can act on."""

    name: str

    @property
    def auto_fix(self) -> bool:
        """Whether it is on."""
        ...

    def set_auto_fix(self, enabled: bool, *, reason: str) -> bool:
        """Turn it on or off from the next step on, from any thread; whether it will be so."""
        ...

    def declarations(self) -> Sequence[LayerWatched]:
        """What it observes, with the settings as they are now."""
        ...


class Controlling:
    """Carries out requests to one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._audit = AutoFixAuditLogger(run.id, run.root)
        self.wants_report = False
        """Whether the next report has been asked for."""

    def carry_out(self, request: ControlRequest) -> str:
        """Do what is asked; what was done, in a sentence.

        Raises:
            RequestRefused: it cannot be done in this run.
        """
        ranks = place_among_ranks().world_size
        match request.body:
            case ReportNow():
                self.wants_report = True
                return "the next report is brought forward"
            case _ if ranks > 1:
                raise RequestRefused(
                    request.id,
                    f"{ranks} ranks train together and must keep to one setting; only the first of "
                    "them hears requests: change the script and start it again",
                )
            case SetTrackInterval(interval=interval, layer=layer):
                return self._set_track_interval(request, interval, layer)
            case SetAutoFix(enabled=enabled, layer=layer):
                return self._set_auto_fix(request, enabled, layer)

    def _set_track_interval(self, request: ControlRequest, interval: int, layer: str) -> str:
        trackers = [each for each in self._named(request, layer) if isinstance(each, Paced)]
        if not trackers:
            raise RequestRefused(request.id, "nothing in this run is followed at an interval")
        changed = [each for each in trackers if each.track_interval != interval]
        for tracker in changed:
            tracker.set_track_interval(interval)
        declared = [each for tracker in changed for each in tracker.declarations()]
        self._tell(request, "track_interval", interval, declared)
        share = "every step" if interval == 1 else f"1 in {interval:,} steps"
        if not changed:
            return f"{layer or 'everything'} is followed at {share} already"
        return f"{layer or 'everything'} is followed at {share} from the next burst on"

    def _set_auto_fix(self, request: ControlRequest, enabled: bool, layer: str) -> str:
        tables = [each for each in self._named(request, layer) if isinstance(each, AutoFixes)]
        if not tables:
            raise RequestRefused(request.id, "no embedding table here that auto-fix could act on")
        wanted = [each for each in tables if each.auto_fix != enabled]
        reason = request.reason or f"asked by the {request.sender or 'holder of the key'}"
        changed = [each for each in wanted if each.set_auto_fix(enabled, reason=reason)]
        if wanted and not changed:
            raise RequestRefused(request.id, "auto-fix cannot act here; see the training's log")
        declared = [each for table in changed for each in table.declarations()]
        self._tell(request, "auto_fix", enabled, declared)
        names = ", ".join(each.name for each in (changed or tables)[:8])
        word = "on" if enabled else "off"
        if not changed:
            return f"auto-fix is {word} already for {names}"
        return f"auto-fix is {word} for {names} from the next step on"

    def _named(self, request: ControlRequest, layer: str) -> list[Tracker]:
        """The trackers that a request is about. Raises RequestRefused where there are none."""
        trackers = list(self._run.trackers)
        if not layer:
            return trackers
        found = [each for each in trackers if each.name == layer]
        if not found:
            names = ", ".join(each.name for each in trackers if each.name) or "none"
            raise RequestRefused(
                request.id,
                f"no tracker of this run is named {layer[:80]!r}; of their own have one: "
                f"{names[:400]}; leave the layer out for all",
            )
        return found

    def _tell(
        self,
        request: ControlRequest,
        setting: str,
        value: bool | int,
        declared: Sequence[LayerWatched],
    ) -> None:
        """Write a change to the audit and the stream; nothing where nothing changed."""
        if not declared:
            return
        layers = [each.layer for each in declared]
        change = Controlled(
            request=request.id,
            sender=request.sender,
            setting=setting,
            value=value,
            layers=layers[:_MOST_NAMES],
            reason=request.reason,
        )
        self._audit.log_control(self._run.step, change)
        self._run.emit(ControlEvent, change)
        for each in declared:
            self._run.emit(LayerWatchedEvent, each)
