"""Runs that report when they are told to, and what they and the audit have said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer_schemas import Intervention, InterventionEvent, decode_event


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(**settings: Any) -> Run:
        given = {"report_seconds": 3600, "publish": False, **settings}
        runs.append(Run(root=tmp_path, settings=Settings(**given)))
        return runs[-1]

    yield make
    for run in runs:
        run.finish()


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    return make_run()


@pytest.fixture
def said() -> Callable[[Run], list[Intervention]]:
    """Finish the run, and read the interventions in its journal."""

    def read(run: Run) -> list[Intervention]:
        run.finish()
        lines = (run.root / ".gradtracer/runs" / run.id / "events.jsonl").read_bytes().splitlines()
        events = [decode_event(line) for line in lines]
        return [event.body for event in events if isinstance(event, InterventionEvent)]

    return read


@pytest.fixture
def audited() -> Callable[[Run], list[dict[str, Any]]]:
    def read(run: Run) -> list[dict[str, Any]]:
        run.finish()
        text = (run.root / ".gradtracer" / "audit.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["run_id"] == run.id]

    return read
