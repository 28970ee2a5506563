"""What an arm puts beside a training: GradTracer watching, and the average of the rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import gradtracer
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisUpdatedEvent,
    Event,
    InterventionEvent,
    ProbeFaultEvent,
    decode_event,
)
from validation.models import Recommender
from validation.plans import Plan

UNNAMED = "no row named yet"
WAITS = ("the loss is improving", "too few losses", "the loss is not finite")
"""Why auto-fix waits after rows were named, as the reason of its event has it."""


class Watched:
    """`gradtracer.watch`, with a report at the end of each epoch and at no other time.

    Reports at times of the clock would act at other steps in another run of the same seed. Every
    step is followed, as these trainings are short: a thousand steps see what ten thousand do at the
    default interval.
    """

    def __init__(
        self, model: Recommender, optimizer: torch.optim.Optimizer, plan: Plan, **settings: Any
    ) -> None:
        self.tables = sum(isinstance(each, nn.Embedding) for each in model.modules())
        self.events: list[Event] = []
        """What the journal says, from `finish` on."""
        self._folder = tempfile.TemporaryDirectory()
        self._run = gradtracer.watch(
            model,
            optimizer=optimizer,
            total_steps=plan.epochs * model.steps,
            track_interval=1,
            folder=self._folder.name,
            publish=False,
            report_seconds=1e6,
            **settings,
        )

    def stepped(self, loss: torch.Tensor) -> None:
        self._run.log(loss=loss)

    def epoch_ended(self, ndcg: float) -> None:
        self._run.log(validation_ndcg_at_10=ndcg)
        if not self._run.flush():
            raise RuntimeError("GradTracer did not report: its arm cannot be told from another")

    def finish(self) -> None:
        """End the run and read its journal. Raises RuntimeError where the probe failed."""
        self._run.finish()
        (journal,) = Path(self._folder.name).rglob("events.jsonl")
        self.events = [decode_event(line) for line in journal.read_bytes().split(b"\n") if line]
        self._folder.cleanup()
        for event in self.events:
            if isinstance(event, ProbeFaultEvent):
                raise RuntimeError(f"{event.body.layer}: {event.body.message}")


def holding(events: list[Event]) -> list[Diagnosis]:
    """Diagnoses that hold at the end."""
    held: dict[str, Diagnosis] = {}
    for event in events:
        if isinstance(event, DiagnosisRaisedEvent | DiagnosisUpdatedEvent):
            held[event.body.id] = event.body
        elif isinstance(event, DiagnosisClearedEvent):
            held.pop(event.body.id, None)
    return list(held.values())


def interventions(events: list[Event], tables: int) -> dict[str, Any]:
    """How often auto-fix acted or stopped, on how many rows at most, how strongly, and its states.

    `states`: share of the steps of all `tables` that were spent in each.
    """
    told = [event for event in events if isinstance(event, InterventionEvent)]
    acting = [each.body for each in told if each.body.action == "shrink-updates"]
    return {
        "acted": len(acting),
        "stopped": sum(each.body.action == "stop" for each in told),
        "rows": max((each.rows for each in acting), default=0),
        "scale": round(min((each.mean_scale for each in acting), default=1.0), 4),
        "states": _states(told, max((event.step for event in events), default=0), tables),
    }


def _states(told: list[InterventionEvent], end: int, tables: int) -> dict[str, float]:
    by_layer: dict[str, list[InterventionEvent]] = {}
    for event in told:
        by_layer.setdefault(event.body.layer, []).append(event)
    # A table tells nothing before a row is named in it.
    steps = {UNNAMED: end * (tables - len(by_layer))}
    for events in by_layer.values():
        steps[UNNAMED] += events[0].step
        for event, following in zip(events, [*[e.step for e in events[1:]], end], strict=True):
            state = _state(event)
            steps[state] = steps.get(state, 0) + following - event.step
    whole = max(1, end * tables)
    return {state: round(count / whole, 4) for state, count in steps.items() if count}


def _state(event: InterventionEvent) -> str:
    if event.body.action != "wait":
        return "acts" if event.body.action == "shrink-updates" else "stopped"
    return next((reason for reason in WAITS if reason in event.body.reason), "waits")


class TableAverages:
    """`gradtracer.RowAverage` of every table, with its defaults."""

    def __init__(self, model: nn.Module) -> None:
        self._averages = [
            gradtracer.RowAverage(each)
            for each in model.modules()
            if isinstance(each, nn.Embedding)
        ]

    def serve(self) -> None:
        for each in self._averages:
            each.swap()

    def resume(self) -> None:
        for each in self._averages:
            each.restore()
