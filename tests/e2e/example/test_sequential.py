"""The sequential example under observation: every layer on its line, and nothing cried over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gradtracer_schemas import DiagnosisRaisedEvent, LayerWatchedEvent, decode_event
from patience import PATIENCE

EXAMPLE = Path(__file__).parents[3] / "examples" / "sequential.py"


# A script that imports torch and trains, beside whatever else the machine does
def test_as_it_is_its_layers_stand_on_their_lines_and_are_left_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--epochs", "1", "--dim", "16", "--layers", "1"],
        cwd=tmp_path,
        env={
            **os.environ,
            "GRADTRACER_FOLDER": str(tmp_path),
            "GRADTRACER_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test NDCG@10 0.0" in done.stdout
    (journal,) = tmp_path.rglob("events.jsonl")
    events = [decode_event(line) for line in journal.read_bytes().splitlines()]
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    stands = {
        event.body.layer: lines[event.body.site.frames[0].start_line - 1].strip()
        for event in events
        if isinstance(event, LayerWatchedEvent) and event.body.site.frames
    }
    assert stands["item_emb"].startswith("self.item_emb = nn.Embedding(")
    assert stands["place_emb"].startswith("self.place_emb = nn.Embedding(")
    assert stands["encoder.layers.0.linear1"] == "block = nn.TransformerEncoderLayer("
    raised = {event.body.type for event in events if isinstance(event, DiagnosisRaisedEvent)}
    assert raised <= {"DEAD_EMBEDDINGS", "POPULARITY_BIAS"}
