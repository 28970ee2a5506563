"""What a live run does when it is asked to: change a setting, report now; audited and streamed.

In the reporting thread. Trackers adopt a new setting in the training thread, at their next step;
of several ranks the first one hears the request, and tells the others (`live_settings.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradtracer.audit import AutoFixAuditLogger
from gradtracer.live_settings import AutoFixes, FirstRank, Paced
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


class Controlling:
    """Carries out requests to one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._audit = AutoFixAuditLogger(run.id, run.root)
        self._others: FirstRank | None = None
        self.wants_report = False
        """Whether the next report has been asked for."""

    def carry_out(self, request: ControlRequest) -> str:
        """Do what is asked; what was done, in a sentence.

        Raises:
            RequestRefused: it cannot be done in this run.
        """
        match request.body:
            case ReportNow():
                self.wants_report = True
                return "the next report is brought forward"
            case SetTrackInterval(interval=interval, layer=layer):
                return self._set_track_interval(request, interval, layer)
            case SetAutoFix(enabled=enabled, layer=layer):
                return self._set_auto_fix(request, enabled, layer)

    def _set_track_interval(self, request: ControlRequest, interval: int, layer: str) -> str:
        others = self._other_ranks(request)
        trackers = [each for each in self._named(request, layer) if isinstance(each, Paced)]
        if not trackers:
            raise RequestRefused(request.id, "nothing in this run is followed at an interval")
        changed = [each for each in trackers if each.track_interval != interval]
        for tracker in changed:
            tracker.set_track_interval(interval)
        if others is not None:
            others.say(track_interval={each.name: interval for each in changed})
        declared = [each for tracker in changed for each in tracker.declarations()]
        self._tell(request, "track_interval", interval, declared)
        share = "every step" if interval == 1 else f"1 in {interval:,} steps"
        if not changed:
            return f"{layer or 'everything'} is followed at {share} already"
        return f"{layer or 'everything'} is followed at {share} from the next burst on"

    def _set_auto_fix(self, request: ControlRequest, enabled: bool, layer: str) -> str:
        others = self._other_ranks(request)
        tables = [each for each in self._named(request, layer) if isinstance(each, AutoFixes)]
        if not tables:
            raise RequestRefused(request.id, "no embedding table here that auto-fix could act on")
        wanted = [each for each in tables if each.auto_fix != enabled]
        reason = request.reason or f"asked by the {request.sender or 'holder of the key'}"
        changed = [each for each in wanted if each.set_auto_fix(enabled, reason=reason)]
        if wanted and not changed:
            raise RequestRefused(request.id, "auto-fix cannot act here; see the training's log")
        if others is not None:
            others.say(auto_fix={each.name: enabled for each in changed})
        declared = [each for table in changed for each in table.declarations()]
        self._tell(request, "auto_fix", enabled, declared)
        names = ", ".join(each.name for each in (changed or tables)[:8])
        word = "on" if enabled else "off"
        if not changed:
            return f"auto-fix is {word} already for {names}"
        begins = "the next step on" if others is None else "a step on which all ranks agree"
        return f"auto-fix is {word} for {names} from {begins}"

    def _other_ranks(self, request: ControlRequest) -> FirstRank | None:
        """Who tells them; None where there are none. Raises RequestRefused."""
        ranks = place_among_ranks().world_size
        if ranks < 2 or self._others is not None:
            return self._others
        channel = self._run.ranks.channel("settings")
        if channel is None:
            raise RequestRefused(
                request.id,
                f"{ranks} ranks train together, and there is no process group over which the "
                "others could hear of it; call watch() after init_process_group()",
            )
        self._others = FirstRank(channel)
        return self._others

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
