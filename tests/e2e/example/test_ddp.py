"""The example of several ranks, as its users start it."""

from __future__ import annotations

import sys
from pathlib import Path

from gradtracer_schemas import LayerWatchedEvent, ObservationEvent, RunEndedEvent, decode_event
from launching import run_with_workers

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_two_ranks_write_one_run_that_knows_all_look_ups(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run_with_workers(
        [sys.executable, *launcher, str(EXAMPLES / "ddp.py"), "--epochs", "1"], tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   1") == 1
    (journal,) = (tmp_path / ".gradtracer" / "runs").glob("*/events.jsonl")
    events = [decode_event(line) for line in journal.read_bytes().split(b"\n") if line]
    layers = [event.body.layer for event in events if isinstance(event, LayerWatchedEvent)]
    assert layers == ["user_emb", "item_emb"]
    last = {event.body.layer: event.body for event in events if isinstance(event, ObservationEvent)}
    # One positive and four negatives of each interaction; the sampler evens out the ranks.
    interactions = last["user_emb"].values["exposures"]
    assert interactions % 2 == 0
    assert last["item_emb"].values["exposures"] == 5 * interactions
    assert [e.body.outcome for e in events if isinstance(e, RunEndedEvent)] == ["finished"]
