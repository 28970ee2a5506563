"""What the callbacks' runs have written, for the tests of real trainings."""

from __future__ import annotations

import time
from pathlib import Path

from gradtracer_schemas import (
    DiagnosisRaisedEvent,
    Envelope,
    LayerWatched,
    LayerWatchedEvent,
    Observation,
    ObservationEvent,
    ProbeFaultEvent,
    Progress,
    ProgressEvent,
    RunEndedEvent,
    decode_event,
)
from patience import PATIENCE


class Journal:
    """What the only run in a folder has written, once it has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def runs(self) -> list[list[Envelope]]:
        files = sorted(self.folder.glob(".gradtracer/runs/*/events.jsonl"))
        return [[decode_event(line) for line in file.read_bytes().splitlines()] for file in files]

    @property
    def events(self) -> list[Envelope]:
        (events,) = self.runs
        assert not [event for event in events if isinstance(event, ProbeFaultEvent)]
        return events

    @property
    def watched(self) -> LayerWatched:
        (found,) = [each.body for each in self.events if isinstance(each, LayerWatchedEvent)]
        return found

    @property
    def figures(self) -> Observation:
        return [each.body for each in self.events if isinstance(each, ObservationEvent)][-1]

    @property
    def progress(self) -> Progress:
        return [each.body for each in self.events if isinstance(each, ProgressEvent)][-1]

    @property
    def raised(self) -> set[str]:
        return {each.body.type for each in self.events if isinstance(each, DiagnosisRaisedEvent)}

    @property
    def outcome(self) -> str:
        (ended,) = [each.body for each in self.events if isinstance(each, RunEndedEvent)]
        return ended.outcome

    def wait(self) -> Journal:
        """For a library that does not say when it ends."""
        deadline = time.monotonic() + PATIENCE
        while not any(isinstance(event, RunEndedEvent) for run in self.runs for event in run):
            assert time.monotonic() < deadline, "the run has not ended after 30 s"
            time.sleep(0.02)
        return self
