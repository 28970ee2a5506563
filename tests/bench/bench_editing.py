"""Figures of an editor at work in a long file while its training talks.

    python tests/bench/bench_editing.py

A file of 3,300 lines defines 1,000 watched layers. Hovers and edits are timed while 1,000
observations a second arrive; then memory is compared before and after 10,000 edits and 100,000
observations.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench_server import LAYERS, milliseconds, row
from stdio_client import StdioClient

import gradtracer  # before the model is built, so that it sees where
from gradtracer.run import Run
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisRaisedEvent,
    Evidence,
    Observation,
    ObservationEvent,
)

LINES = 3_300
HOVERS = 2_000
EDITS = 300
RATE = 1_000
MANY_EDITS = 10_000
MANY_OBSERVATIONS = 100_000

HEAD = """from torch import nn


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="gradtracer-bench-")).resolve()
    (folder / "pyproject.toml").write_text("")
    source = folder / "long_model.py"
    body = [
        f"        self.emb_{i} = nn.Embedding(64, 8)\n        # a table\n\n" for i in range(LAYERS)
    ]
    text = HEAD + "".join(body)
    source.write_text(text + "# end\n" * (LINES - text.count("\n")))
    os.chdir(folder)
    os.environ["GRADTRACER_FOLDER"] = str(folder)
    sys.path.insert(0, str(folder))
    import long_model
    import torch

    torch.set_num_threads(1)
    model = long_model.Wide()
    run = gradtracer.watch(model, report_seconds=3600)
    diagnose(run)
    for number in range(LAYERS):
        observe(run, number)
    run.flush()
    client = StdioClient(folder)
    client.initialize()
    versions: queue.SimpleQueue[int] = queue.SimpleQueue()

    def listen(method: str, params: dict, _now: float) -> None:
        if method == "textDocument/publishDiagnostics" and params.get("version"):
            versions.put(params["version"])

    client.listen(listen)
    uri = client.open(source)
    assert versions.get(timeout=60) == 1
    print(f"{'figure':<44} {'measured':>22} {'target':>12}   samples")
    with Talk(run) as talk:
        time_hovers(client, uri, talk)
        version = time_edits(client, uri, versions, talk)
    measure_growth(client, uri, run, version)
    client.close()
    run.finish()


def observe(run: Run, number: int) -> None:
    values = {"steps": number, "effective_rank": 3 + number % 5, "gini": 0.5, "seen_rows": 60.0}
    layer = run.trackers[number % LAYERS].name
    run.emit(ObservationEvent, Observation(layer=layer, values=values))


def diagnose(run: Run) -> None:
    """One finding, on the last layer: every line that is added above moves it."""
    tracker = run.trackers[-1]
    evidence = Evidence(
        statistic="gini", value=0.9, threshold=0.7, comparison="above", n=99, interval=(0.8, 0.95)
    )
    diagnosis = Diagnosis(
        id=f"POPULARITY_BIAS:{tracker.name}@{run.id}",
        type="POPULARITY_BIAS",
        layer=tracker.name,
        severity="warning",
        confidence=0.99,
        premise="a bench",
        implies="nothing",
        action="none",
        expected_effect="none",
        evidence=[evidence],
        site=tracker.site,
    )
    run.emit(DiagnosisRaisedEvent, diagnosis)


class Talk:
    """Observations at a rate, from a thread of the training's process."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._speak)
        self.said = 0
        self.began = time.perf_counter()

    @property
    def rate(self) -> float:
        return self.said / (time.perf_counter() - self.began)

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _speak(self) -> None:
        while not self._done.wait(0.01):
            for _ in range(int(RATE * (time.perf_counter() - self.began)) - self.said):
                observe(self._run, self.said)
                self.said += 1


def time_hovers(client: StdioClient, uri: str, talk: Talk) -> None:
    seconds: list[float] = []
    empty = 0
    for number in range(HOVERS + 20):
        position = {"line": 6 + 3 * ((number * 37) % LAYERS), "character": 15}
        began = time.perf_counter()
        answer = client.request(
            "textDocument/hover", {"textDocument": {"uri": uri}, "position": position}
        )
        if number >= 20:
            seconds.append(time.perf_counter() - began)
            empty += answer is None
    told = f"{len(seconds)}, {empty} empty; {talk.rate:.0f} observations/s"
    row("hover, 3,300 lines, 1,000 layers", milliseconds(seconds), "2 / 8 ms", told)


def edit(client: StdioClient, uri: str, version: int) -> None:
    """Add a line at the top, or take it away again."""
    odd = version % 2
    end = {"line": odd, "character": 0}
    change = {"range": {"start": {"line": 0, "character": 0}, "end": end}, "text": "\n"[odd:]}
    document = {"uri": uri, "version": version}
    client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})


def shown(versions: queue.SimpleQueue[int], version: int) -> None:
    while versions.get(timeout=60) < version:
        pass


def time_edits(client: StdioClient, uri: str, versions: queue.SimpleQueue[int], talk: Talk) -> int:
    seconds: list[float] = []
    for version in range(2, EDITS + 2):
        began = time.perf_counter()
        edit(client, uri, version)
        shown(versions, version)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.02)
    told = f"{len(seconds)}; {talk.rate:.0f} observations/s"
    row("edit to updated diagnostics", milliseconds(seconds), "p99 20 ms", told)
    return EDITS + 1


def measure_growth(client: StdioClient, uri: str, run: Run, version: int) -> None:
    def settled() -> float:
        run.flush()
        client.request(
            "textDocument/hover",
            {"textDocument": {"uri": uri}, "position": {"line": 9, "character": 15}},
        )
        return client.resident_mb()

    before = settled()
    each = MANY_OBSERVATIONS // MANY_EDITS
    for number in range(MANY_EDITS):
        version += 1
        edit(client, uri, version)
        for turn in range(each):
            observe(run, number * each + turn)
        if number % 20 == 0:
            settled()  # the answer comes after what was sent before it
    after = settled()
    told = (
        f"{before:.1f} to {after:.1f} MB; {MANY_EDITS:,} edits, {MANY_OBSERVATIONS:,} observations"
    )
    row("growth of resident memory", f"{after - before:.1f} MB", "5 MB", told)


if __name__ == "__main__":
    main()
