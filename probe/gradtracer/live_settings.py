"""Settings that a live run may change, and how the other ranks hear of it.

The first rank alone hears requests. It tells the others all that was ever changed as one message,
so that who misses one has everything in the next; they take it over in the run's thread. No step
has to be agreed on here: where auto-fix is turned on, a rank begins to listen, and nothing is
scaled until all hold what the first one proposes (`auto_fix/agreement.py`); turned off, it proposes
that nothing is. Which gradients are followed may differ between ranks for some steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from gradtracer.rank_channel import Channel
from gradtracer_schemas import LayerWatched


@runtime_checkable
class Paced(Protocol):
    """A tracker that follows a share of the steps."""

    name: str
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


class _Changed(msgspec.Struct):
    track_interval: dict[str, int] = {}
    """By tracker."""
    auto_fix: dict[str, bool] = {}


class FirstRank:
    """The side that says what was changed. Raises what the store raises."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._changed = _Changed()
        self._number = 0

    def say(
        self,
        *,
        track_interval: Mapping[str, int] | None = None,
        auto_fix: Mapping[str, bool] | None = None,
    ) -> None:
        """Tell it to all other ranks; by name of the tracker."""
        self._changed.track_interval.update(track_interval or {})
        self._changed.auto_fix.update(auto_fix or {})
        self._number += 1
        self._channel.publish(self._number, msgspec.msgpack.encode(self._changed))


class OtherRank:
    """The side that takes it over."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wanted = _Changed()
        self._number = 0

    def follow(self, trackers: Iterable[object]) -> None:
        """Take over what is new. What is said of a tracker that is not there yet waits for it."""
        latest = self._channel.latest()
        if latest is not None and latest.number > self._number:
            body = self._channel.fetch(latest)
            self._wanted = msgspec.msgpack.decode(body, type=_Changed)
            self._number = latest.number
        wanted = self._wanted
        if not (wanted.track_interval or wanted.auto_fix):
            return
        for tracker in trackers:
            if isinstance(tracker, Paced):
                interval = wanted.track_interval.pop(tracker.name, tracker.track_interval)
                if interval != tracker.track_interval:
                    tracker.set_track_interval(interval)
            if isinstance(tracker, AutoFixes) and wanted.auto_fix.pop(tracker.name, False):
                tracker.set_auto_fix(True, reason="the first rank was asked to")
