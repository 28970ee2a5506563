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


class Watched:
    """`gradtracer.watch`, with a report at the end of each epoch and at no other time.

    Reports at times of the clock would act at other steps in another run of the same seed. Every
    step is followed, as these trainings are short: a thousand steps see what ten thousand do at the
    default interval.
    """

    def __init__(
        self, model: Recommender, optimizer: torch.optim.Optimizer, plan: Plan, **settings: Any
    ) -> None:
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

    def finish(self) -> list[Event]:
        """End the run; what its journal says."""
        self._run.finish()
        (journal,) = Path(self._folder.name).rglob("events.jsonl")
        events = [decode_event(line) for line in journal.read_bytes().split(b"\n") if line]
        self._folder.cleanup()
        for event in events:
            if isinstance(event, ProbeFaultEvent):
                raise RuntimeError(f"{event.body.layer}: {event.body.message}")
        return events


def holding(events: list[Event]) -> list[Diagnosis]:
    """Diagnoses that hold at the end."""
    held: dict[str, Diagnosis] = {}
    for event in events:
        if isinstance(event, DiagnosisRaisedEvent | DiagnosisUpdatedEvent):
            held[event.body.id] = event.body
        elif isinstance(event, DiagnosisClearedEvent):
            held.pop(event.body.id, None)
    return list(held.values())


def interventions(events: list[Event]) -> dict[str, Any]:
    """How often auto-fix acted or stopped, on how many rows at most, and how strongly."""
    told = [event.body for event in events if isinstance(event, InterventionEvent)]
    acting = [each for each in told if each.action == "shrink-updates"]
    return {
        "acted": len(acting),
        "stopped": sum(each.action == "stop" for each in told),
        "rows": max((each.rows for each in acting), default=0),
        "scale": round(min((each.mean_scale for each in acting), default=1.0), 4),
    }


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
