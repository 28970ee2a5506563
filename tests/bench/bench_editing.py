"""Figures of an editor at work in a long file while its training talks.

    python tests/bench/bench_editing.py

A file of 3,300 lines defines 1,000 watched layers and trains them; 20 of them have findings, with
the fixes that the probe offers for each. Hovers and edits are timed while 1,000 observations a
second arrive; then memory is compared before, in the middle of and after 10,000 edits and 100,000
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
from typing import TYPE_CHECKING

from bench_server import LAYERS, milliseconds, row
from stdio_client import StdioClient

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.run import Run
from gradtracer.training_sites import training_sites
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisRaisedEvent,
    DiagnosisType,
    Evidence,
    FixOffer,
    Observation,
    ObservationEvent,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

LINES = 3_300
HOVERS = 2_000
EDITS = 300
RATE = 1_000
MANY_EDITS = 10_000
MANY_OBSERVATIONS = 100_000

FINDINGS = 20

HEAD = """import gradtracer
import torch
from torch import nn
from torch.nn import functional

DIM = 8


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
"""
TAIL = """
    def forward(self, users, items):
        return self.emb_0(users) @ self.emb_1(items).T


def train():
    model = Wide()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    logits = model(torch.arange(8), torch.arange(8))
    loss = functional.cross_entropy(logits, torch.arange(8))
    loss.backward()
    optimizer.step()
    return gradtracer.watch(model, report_seconds=3600), optimizer


"""

OFFERS: dict[DiagnosisType, list[FixOffer]] = {
    "REPRESENTATION_COLLAPSE": [
        FixOffer(
            fix="reduce-weight-decay",
            parameters={"weight_decay": 1e-5, "measured_decay": 1e-4},
        ),
        FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 4, "measured_dim": 8}),
    ],
    "DEAD_EMBEDDINGS": [
        FixOffer(fix="shrink-table", parameters={"num_embeddings": 32, "measured_rows": 64})
    ],
    "EMBEDDING_DRIFT": [FixOffer(fix="sparse-gradients", parameters={"optimizer": "Adam"})],
    "ZOMBIE_EMBEDDINGS": [
        FixOffer(fix="enable-auto-fix"),
        FixOffer(fix="reduce-learning-rate", parameters={"lr": 1e-4, "measured_lr": 1e-3}),
    ],
    "POPULARITY_BIAS": [
        FixOffer(fix="log-q-correction"),
        FixOffer(fix="inverse-frequency-weights", parameters={"power": 0.5}),
    ],
}
"""What the probe offers for each, beside the comment that silences it."""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="gradtracer-bench-")).resolve()
    (folder / "pyproject.toml").write_text("")
    source = folder / "long_model.py"
    text = HEAD + "".join(
        f"        self.emb_{i} = nn.Embedding(64, {'DIM' if i % 2 else 8})\n        # a table\n\n"
        for i in range(LAYERS)
    )
    text += TAIL
    source.write_text(text + "# end\n" * (LINES - text.count("\n")))
    os.chdir(folder)
    os.environ["GRADTRACER_FOLDER"] = str(folder)
    sys.path.insert(0, str(folder))
    import long_model
    import torch

    torch.set_num_threads(1)
    run, optimizer = long_model.train()
    tables = [each for each in run.trackers if isinstance(each, EmbeddingTracker)]
    diagnose(run, tables, optimizer)
    for number in range(LAYERS):
        observe(run, tables, number)
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
    with Talk(run, tables) as talk:
        time_hovers(client, uri, talk)
        version = time_edits(client, uri, versions, talk)
    measure_growth(client, uri, run, tables, version)
    client.close()
    run.finish()


def observe(run: Run, tables: list[EmbeddingTracker], number: int) -> None:
    run.step = number // LAYERS
    values = {"steps": number, "effective_rank": 3 + number % 5, "gini": 0.5, "seen_rows": 60.0}
    layer = tables[number % LAYERS].name
    run.emit(ObservationEvent, Observation(layer=layer, values=values))


def diagnose(run: Run, tables: list[EmbeddingTracker], optimizer: Optimizer) -> None:
    """Findings all over the model: every line that is added above moves them."""
    related = training_sites(optimizer).related() | {"watch": run.watch_site}
    assert all(site.frames for site in related.values()), "the places of the training"
    evidence = Evidence(
        statistic="gini", value=0.9, threshold=0.7, comparison="above", n=99, interval=(0.8, 0.95)
    )
    types = list(OFFERS)
    for number in range(FINDINGS):
        tracker, kind = tables[number * LAYERS // FINDINGS], types[number % len(types)]
        diagnosis = Diagnosis(
            id=f"{kind}:{tracker.name}@{run.id}",
            type=kind,
            layer=tracker.name,
            severity="warning",
            confidence=0.99,
            premise="a bench",
            implies="nothing",
            action="none",
            expected_effect="none",
            evidence=[evidence],
            fixes=[*OFFERS[kind], FixOffer(fix="suppress")],
            site=tracker.site,
            related=related,
        )
        run.emit(DiagnosisRaisedEvent, diagnosis)


class Talk:
    """Observations at a rate, from a thread of the training's process."""

    def __init__(self, run: Run, tables: list[EmbeddingTracker]) -> None:
        self._run = run
        self._tables = tables
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
                observe(self._run, self._tables, self.said)
                self.said += 1


def time_hovers(client: StdioClient, uri: str, talk: Talk) -> None:
    seconds: list[float] = []
    empty = 0
    for number in range(HOVERS + 20):
        position = {"line": 11 + 3 * ((number * 37) % LAYERS), "character": 15}
        began = time.perf_counter()
        answer = client.request(
            "textDocument/hover", {"textDocument": {"uri": uri}, "position": position}
        )
        if number >= 20:
            seconds.append(time.perf_counter() - began)
            empty += answer is None
    told = f"{len(seconds)}, {empty} empty; {talk.rate:.0f} observations/s"
    row("hover, 3,300 lines, 1,000 layers", milliseconds(seconds), "2 / 8 ms", told)


def edit(client: StdioClient, uri: str, version: int, line: str = "\n") -> None:
    """Add a line at the top, or take it away again."""
    odd = version % 2
    end = {"line": odd, "character": 0}
    text = "" if odd else line
    change = {"range": {"start": {"line": 0, "character": 0}, "end": end}, "text": text}
    document = {"uri": uri, "version": version}
    client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})


def shown(versions: queue.SimpleQueue[int], version: int) -> None:
    while versions.get(timeout=60) < version:
        pass


def time_edits(client: StdioClient, uri: str, versions: queue.SimpleQueue[int], talk: Talk) -> int:
    version = 1
    for what, line in (("an empty line", "\n"), ("a statement", "SEED = 1\n")):
        seconds: list[float] = []
        for _ in range(EDITS):
            version += 1
            began = time.perf_counter()
            edit(client, uri, version, line)
            shown(versions, version)
            seconds.append(time.perf_counter() - began)
            time.sleep(0.02)
        told = f"{len(seconds)}; {FINDINGS} findings, {talk.rate:.0f} observations/s"
        row(f"{what} to updated diagnostics", milliseconds(seconds), "p99 20 ms", told)
    return version


def measure_growth(
    client: StdioClient, uri: str, run: Run, tables: list[EmbeddingTracker], version: int
) -> None:
    def settled() -> float:
        run.flush()
        client.request(
            "textDocument/hover",
            {"textDocument": {"uri": uri}, "position": {"line": 11, "character": 15}},
        )
        return client.resident_mb()

    before = settled()
    half = before
    each = MANY_OBSERVATIONS // MANY_EDITS
    for number in range(MANY_EDITS):
        version += 1
        edit(client, uri, version)
        for turn in range(each):
            observe(run, tables, number * each + turn)
        if number % 20 == 0:
            now = settled()  # the answer comes after what was sent before it
            half = now if number <= MANY_EDITS // 2 else half
    after = settled()
    told = (
        f"{before:.1f} to {half:.1f} to {after:.1f} MB; "
        f"{MANY_EDITS:,} edits, {MANY_OBSERVATIONS:,} observations"
    )
    row("growth of resident memory", f"{after - before:.1f} MB", "5 MB", told)


if __name__ == "__main__":
    main()
