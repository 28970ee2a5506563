"""The two-tower example under observation: silent as it is, and right about a planted fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gradtracer_schemas import DiagnosisRaisedEvent, LayerWatchedEvent, decode_event
from patience import PATIENCE

EXAMPLE = Path(__file__).parents[3] / "examples" / "two_tower.py"


def events_of(folder: Path, *arguments: str) -> list:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--epochs", "1", "--dim", "16", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "GRADTRACER_FOLDER": str(folder),
            "GRADTRACER_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    (journal,) = folder.rglob("events.jsonl")
    return [decode_event(line) for line in journal.read_bytes().splitlines()]


def test_a_user_tower_at_a_thousandth_of_the_rate_is_named_on_its_line(tmp_path: Path):
    events = events_of(tmp_path, "--slow-user", "1e-3")
    layers = {e.body.layer for e in events if isinstance(e, LayerWatchedEvent)}
    assert {"tower.user", "tower.item", "user_tower.hidden", "item_tower.table"} <= layers
    (found,) = [
        e.body
        for e in events
        if isinstance(e, DiagnosisRaisedEvent) and e.body.type == "TOWER_IMBALANCE"
    ]
    assert found.layer == "tower.user"
    line = EXAMPLE.read_text().splitlines()[found.site.frames[0].start_line - 1]
    assert "self.user_tower = Tower(" in line


def test_as_it_is_nothing_is_said_of_its_layers_or_towers(tmp_path: Path):
    raised = [e.body for e in events_of(tmp_path) if isinstance(e, DiagnosisRaisedEvent)]
    # One epoch leaves its tables most of their first values; a decay is worth a quarter there.
    of_tables = {"DEAD_EMBEDDINGS", "MISSING_REGULARIZATION", "POPULARITY_BIAS"}
    assert {d.type for d in raised} <= of_tables | {"ZOMBIE_EMBEDDINGS"}
