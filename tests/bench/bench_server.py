"""Figures of the language server with a real run of 1,000 watched layers beside it.

    python tests/bench/bench_server.py

Start to initialize answer, resident memory, hover latency, probe emit to published diagnostic,
and a burst of 5,000 events. Percentiles over the samples named in the table.
"""

from __future__ import annotations

import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from stdio_client import StdioClient

import gradtracer  # before the model is built, so that it sees where
from gradtracer.run import Run
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisCleared,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    Evidence,
    Intervention,
    InterventionEvent,
)

LAYERS = 1_000
HOVERS = 2_000
EMITS = 400
BURST = 5_000

MODEL = '''"""A model of {n} tables."""
from torch import nn


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
{lines}
'''


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds: list[float]) -> str:
    return f"p50 {1e3 * percentile(seconds, 0.5):.1f} p99 {1e3 * percentile(seconds, 0.99):.1f} ms"


def row(name: str, value: str, target: str, samples: str) -> None:
    print(f"{name:<44} {value:>22} {target:>12}   {samples}")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="gradtracer-bench-")).resolve()
    (folder / "pyproject.toml").write_text("")
    source = folder / "wide.py"
    lines = "\n".join(f"        self.emb_{i} = nn.Embedding(64, 8)" for i in range(LAYERS))
    source.write_text(MODEL.format(n=LAYERS, lines=lines))
    os.chdir(folder)
    os.environ["GRADTRACER_FOLDER"] = str(folder)

    sys.path.insert(0, str(folder))
    import torch
    import wide

    torch.set_num_threads(1)
    model = wide.Wide()
    run = gradtracer.watch(model, report_seconds=3600)
    run.flush()
    print(f"{'figure':<44} {'measured':>22} {'target':>12}   samples")
    start_to_initialize(folder)
    client = StdioClient(folder)
    client.initialize()
    uri = client.open(source)
    emit_to_diagnostic(client, run)
    hover(client, uri)
    burst(run, folder)
    row(
        f"resident memory, {LAYERS:,} layers, at the end",
        f"{client.resident_mb():.1f} MB",
        "90 MB",
        "1",
    )
    client.close()
    run.finish()


def start_to_initialize(folder: Path) -> None:
    seconds: list[float] = []
    for _ in range(11):
        client = StdioClient(folder)
        seconds.append(client.initialize())
        client.close()
    row(
        "process start to initialize answer",
        f"median {1e3 * statistics.median(seconds):.0f} ms",
        "600 ms",
        f"{len(seconds)}, max {1e3 * max(seconds):.0f} ms",
    )


def emit_to_diagnostic(client: StdioClient, run: Run) -> None:
    shown: dict[str, float] = {}
    changed = threading.Condition()

    def listen(method: str, params: dict, now: float) -> None:
        if method != "textDocument/publishDiagnostics":
            return
        with changed:
            shown.clear()
            for diagnostic in params["diagnostics"]:
                shown[diagnostic["data"]["id"]] = now
            changed.notify_all()

    def wait(identity: str, *, present: bool) -> float:
        with changed:
            if not changed.wait_for(lambda: (identity in shown) is present, timeout=30):
                raise SystemExit(f"no answer about {identity} within 30 s")
            return shown.get(identity, 0.0)

    client.listen(listen)
    latencies: list[float] = []
    for number in range(EMITS + 5):
        tracker = run.trackers[number * 37 % LAYERS]
        identity = f"POPULARITY_BIAS:{tracker.name}@{run.id}"
        evidence = Evidence(
            statistic="gini",
            value=0.9,
            threshold=0.757,
            comparison="above",
            n=100,
            interval=(0.8, 0.95),
        )
        diagnosis = Diagnosis(
            id=identity,
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
        sent = time.time()
        run.emit(DiagnosisRaisedEvent, diagnosis)
        latency = wait(identity, present=True) - sent
        if number >= 5:
            latencies.append(latency)
        run.emit(DiagnosisClearedEvent, DiagnosisCleared(id=identity, reason="a bench"))
        wait(identity, present=False)
    row(
        "probe emit to published diagnostic",
        milliseconds(latencies),
        "p99 50 ms",
        f"{len(latencies)}",
    )


def hover(client: StdioClient, uri: str) -> None:
    seconds: list[float] = []
    empty = 0
    for number in range(HOVERS + 20):
        position = {"line": 7 + (number * 37) % LAYERS, "character": 15}
        started = time.perf_counter()
        answer = client.request(
            "textDocument/hover", {"textDocument": {"uri": uri}, "position": position}
        )
        if number >= 20:
            seconds.append(time.perf_counter() - started)
            empty += answer is None
    row(
        f"hover, {LAYERS:,} layers in the file",
        milliseconds(seconds),
        "p99 5 ms",
        f"{len(seconds)}, {empty} empty",
    )


def burst(run: Run, folder: Path) -> None:
    """Through a real subscriber; what the socket drops is read from the journal."""
    from gradtracer_server.discovery import read_connection
    from gradtracer_server.runs import Run as ReadRun
    from gradtracer_server.subscriber import Subscriber

    run_folder = folder / ".gradtracer" / "runs" / run.id
    connection = read_connection(run_folder)
    assert connection is not None
    heard: queue.SimpleQueue[list[object]] = queue.SimpleQueue()
    subscriber = Subscriber(lambda _folder, records: heard.put(records))
    subscriber.add(run_folder, connection)
    reader = ReadRun(run_folder)
    reader.catch_up()
    layer = run.trackers[0].name

    def emit(number: int) -> None:
        body = Intervention(
            layer=layer,
            action="shrink-updates",
            rows=number,
            held_out=0,
            holdout=0.2,
            seed=0,
            mean_scale=0.5,
            reason="a bench",
        )
        run.emit(InterventionEvent, body)

    while True:  # until the subscription stands
        emit(0)
        try:
            reader.accept_all(heard.get(timeout=0.2))
            break
        except queue.Empty:
            continue
    before = reader.seq
    for number in range(BURST):
        emit(number)
    run.flush()
    by_socket = filled = 0
    wanted = before + BURST
    deadline = time.monotonic() + 30
    while reader.seq < wanted and time.monotonic() < deadline:
        try:
            records = heard.get(timeout=0.5)
        except queue.Empty:
            reader.catch_up()
            continue
        for record in records:
            by_socket += 1
            if not reader.accept(record):
                filled += 1
                reader.catch_up()
    subscriber.close()
    row(
        f"burst of {BURST:,} events",
        f"{max(0, wanted - reader.seq)} lost",
        "0 lost",
        f"{by_socket:,} by socket, {filled} gaps filled from the journal",
    )


if __name__ == "__main__":
    main()
