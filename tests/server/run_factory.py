"""Writes run folders as a probe does, for tests of the server.

A project of one training script is written to disk, and its runs are written beside it: the frames
point at the script's real lines.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from gradtracer_schemas import (
    EVENT_CLASSES,
    PROTOCOL_VERSION,
    Connection,
    Diagnosis,
    DiagnosisCleared,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisType,
    DiagnosisUpdatedEvent,
    Event,
    Evidence,
    FailurePlace,
    FixOffer,
    LayerWatched,
    Observation,
    Progress,
    Rows,
    RunEnded,
    RunOutcome,
    RunStarted,
    SourceFrame,
    SourceSite,
    encode_event,
    encode_frames,
)
from gradtracer_server.liveness import started_stamp

WaitUntil = Callable[[Callable[[], object]], None]
"""The fixture `wait_until`."""

_EVENT_OF = {cls.__annotations__["body"]: cls for cls in EVENT_CLASSES}
WATCH_STATEMENT = "run = gradtracer.watch(model, optimizer=optimizer)"


def script_text(layers: Sequence[str]) -> str:
    """A training script that defines one embedding table for each layer."""
    tables = "\n".join(f"        {statement_of(layer)}" for layer in layers)
    return (
        "import gradtracer\n"
        "import torch\n"
        "from torch import nn\n"
        "\n"
        "\n"
        "class MF(nn.Module):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__()\n"
        f"{tables}\n"
        "\n"
        "\n"
        "model = MF()\n"
        "optimizer = torch.optim.Adam(model.parameters())\n"
        f"{WATCH_STATEMENT}\n"
    )


def statement_of(layer: str) -> str:
    """The statement that defines a layer in `script_text`."""
    return f"self.{layer} = nn.Embedding(1000, 64)"


def frame_of(
    path: Path, statement: str, *, qualname: str = "<module>", expression: str = ""
) -> SourceFrame:
    """The frame of a one-line statement that stands in a file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        column = line.find(statement)
        if column >= 0:
            return SourceFrame(
                file=str(path),
                start_line=number,
                start_column=column,
                end_line=number,
                end_column=column + len(statement),
                qualname=qualname,
                text=statement,
                digest=hashlib.sha256(statement.encode()).hexdigest()[:16],
                expression=expression,
            )
    raise AssertionError(f"{statement!r} does not stand in {path}")


class RunFactory:
    """A project folder with a training script, and the runs written for it."""

    def __init__(self, root: Path, layers: Sequence[str] = ("user_emb", "item_emb")) -> None:
        self.root = root
        self.layers = tuple(layers)
        self.script = root / "train.py"
        root.mkdir(parents=True, exist_ok=True)
        if not self.script.exists():
            self.script.write_text(script_text(layers), encoding="utf-8")
        self._numbers = itertools.count(1)

    def layer_site(self, layer: str) -> SourceSite:
        """Where the script defines a layer, and where it builds the model."""
        statement = statement_of(layer)
        definition = frame_of(
            self.script,
            statement,
            qualname="MF.__init__",
            expression=statement.partition(" = ")[2],
        )
        return SourceSite(
            frames=[definition, frame_of(self.script, "model = MF()", expression="MF()")],
            attribute=layer,
            origin="constructor",
        )

    def watch_site(self) -> SourceSite:
        """Where the script calls `watch`."""
        expression = WATCH_STATEMENT.partition(" = ")[2]
        return SourceSite(
            frames=[frame_of(self.script, WATCH_STATEMENT, expression=expression)], origin="call"
        )

    def start(self, run_id: str | None = None, **started: Any) -> RunWriter:
        """Begin a run of the script in this very process; later ones have greater ids."""
        run_id = run_id or f"20250101-000000-{next(self._numbers):06x}"
        return RunWriter(self, run_id, started)

    def finished(self, *types: DiagnosisType, run_id: str | None = None) -> RunWriter:
        """A whole run: every layer watched and observed, and each type raised on the last."""
        run = self.start(run_id)
        run.watch_layers()
        for layer in self.layers:
            run.observe(layer, step=100)
        for type_ in types or ("ZOMBIE_EMBEDDINGS",):
            run.diagnose(type_, self.layers[-1], step=100)
        run.progress(step=300)
        run.end(step=300)
        return run


class RunWriter:
    """Writes one run: the journal first, then the socket when there is one."""

    def __init__(self, project: RunFactory, run_id: str, started: dict[str, Any]) -> None:
        self.project = project
        self.id = run_id
        self.folder = project.root / ".gradtracer" / "runs" / run_id
        self.folder.mkdir(parents=True)
        self.journal = self.folder / "events.jsonl"
        self.seq = 0
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self.socket: zmq.Socket[bytes] | None = None
        body: dict[str, Any] = {
            "root": str(project.root),
            "script": str(project.script),
            "argv": [],
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "process_started": started_stamp(os.getpid()),
            "watch": project.watch_site(),
        }
        self.emit(RunStarted(**(body | started)))

    def emit(self, body: Any, *, step: int = 0, cls: Any = None, journal: bool = True) -> Event:
        """Write and publish the event that carries `body`; `journal=False` publishes it alone."""
        cls = cls or next(
            c for c in EVENT_CLASSES if c.__annotations__["body"] == type(body).__name__
        )
        event = cls(
            protocol=PROTOCOL_VERSION,
            run=self.id,
            rank=0,
            seq=self.seq,
            step=step,
            time=time.time(),
            body=body,
        )
        self.seq += 1
        if journal:
            self.write(encode_event(event) + b"\n")
        if self.socket is not None:
            self.socket.send_multipart(encode_frames(event))
        return event

    def write(self, content: bytes) -> None:
        """Append raw bytes to the journal."""
        with self.journal.open("ab") as file:
            file.write(content)

    def rewrite_start(self, change: Callable[[bytes], bytes]) -> None:
        """Change the journal's first line."""
        first, rest = self.journal.read_bytes().split(b"\n", 1)
        self.journal.write_bytes(change(first) + b"\n" + rest)

    def watch_layers(self) -> None:
        """Announce every layer of the script."""
        for layer in self.project.layers:
            self.emit(
                LayerWatched(
                    layer=layer,
                    type="Embedding",
                    shape=[1000, 64],
                    dtype="float32",
                    device="cpu",
                    site=self.project.layer_site(layer),
                    watch=self.project.watch_site(),
                    settings={"auto_fix": False, "track_interval": 100},
                )
            )

    def observe(self, layer: str, *, step: int = 100, **values: float) -> Event:
        """Figures of a layer."""
        figures = {"coverage": 0.91, "gini": 0.62, "effective_rank": 21.5} | values
        return self.emit(Observation(layer=layer, values=figures), step=step)

    def progress(self, *, step: int, total_steps: int | None = 1000) -> Event:
        """How far the run is."""
        return self.emit(
            Progress(step=step, total_steps=total_steps, steps_per_second=50.0, loss=0.42),
            step=step,
        )

    def diagnosis(self, type_: DiagnosisType, layer: str, **changes: Any) -> Diagnosis:
        """A diagnosis of a layer, complete with evidence and offers of fixes."""
        fields: dict[str, Any] = {
            "id": f"{type_}:{layer}@{self.id}",
            "type": type_,
            "layer": layer,
            "severity": "warning",
            "confidence": 0.98,
            "premise": f"41 of 1,000 rows of {layer} move much and get nowhere",
            "implies": "their updates are spent on contradictory labels",
            "action": "look at the examples behind the named rows",
            "expected_effect": "the rows' gradient noise falls to that of their peers",
            "evidence": [
                Evidence(
                    statistic="zombie_share",
                    value=0.041,
                    threshold=0.01,
                    comparison="above",
                    n=1000,
                    p_value=0.0004,
                    test="von Neumann ratio, Benjamini-Hochberg",
                )
            ],
            "risk": "rare rows learn more slowly",
            "rows": Rows(count=41, of=1000, sample=[7, 12, 99]),
            "site": changes.get("site") or self.project.layer_site(layer),
            "related": {"watch": self.project.watch_site()},
            "fixes": [
                FixOffer(fix="enable-auto-fix", preferred=True),
                FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 24}),
            ],
            "first_step": 100,
        }
        return Diagnosis(**(fields | changes))

    def diagnose(
        self, type_: DiagnosisType, layer: str, *, step: int = 100, **changes: Any
    ) -> Diagnosis:
        """Raise a diagnosis."""
        diagnosis = self.diagnosis(type_, layer, **changes)
        self.emit(diagnosis, step=step, cls=DiagnosisRaisedEvent)
        return diagnosis

    def update(self, diagnosis: Diagnosis, *, step: int = 200) -> None:
        """Say that a diagnosis has new figures."""
        self.emit(diagnosis, step=step, cls=DiagnosisUpdatedEvent)

    def clear(self, diagnosis: Diagnosis, *, step: int = 200) -> None:
        """Say that a diagnosis no longer holds."""
        cleared = DiagnosisCleared(id=diagnosis.id, reason="the rows settled")
        self.emit(cleared, step=step, cls=DiagnosisClearedEvent)

    def end(
        self,
        outcome: RunOutcome = "finished",
        *,
        step: int = 300,
        reason: str = "",
        failure: FailurePlace | None = None,
    ) -> None:
        """Say goodbye."""
        self.emit(RunEnded(outcome=outcome, reason=reason, failure=failure), step=step)
        (self.folder / "connection.json").unlink(missing_ok=True)

    def fail(self, *, step: int = 100) -> None:
        """End by an exception on the line that builds the model."""
        frame = frame_of(self.project.script, "model = MF()", expression="MF()")
        failure = FailurePlace(
            exception="IndexError",
            message="index out of range in self",
            file=str(self.project.script),
            line=frame.start_line,
            site=SourceSite(frames=[frame], origin="call"),
        )
        reason = f"{failure.exception}: {failure.message}"
        self.end("failed", step=step, reason=reason, failure=failure)

    def open_socket(self) -> Connection:
        """Bind a CURVE publisher on loopback and write the connection file."""
        import msgspec

        self._context = zmq.Context()
        public, secret = zmq.curve_keypair()
        publisher = self._context.socket(zmq.PUB)
        publisher.curve_server = True
        publisher.curve_publickey = public
        publisher.curve_secretkey = secret
        publisher.set(zmq.SNDHWM, 1000)
        publisher.set(zmq.LINGER, 0)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        self.socket = publisher
        connection = Connection(
            protocol=PROTOCOL_VERSION,
            run=self.id,
            pid=os.getpid(),
            host=socket.gethostname(),
            process_started=started_stamp(os.getpid()),
            events=f"tcp://127.0.0.1:{port}",
            server_key=public.decode(),
        )
        path = self.folder / "connection.json"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(connection))
        return connection

    def close_socket(self) -> None:
        """Close the publisher without a goodbye."""
        if self.socket is not None and self._context is not None:
            self.socket.close(linger=0)
            self._context.term()
            self.socket = None


def of_protocol_2(line: bytes) -> bytes:
    """A line as a writer of the next major protocol might write it."""
    return line.replace(b'"protocol":"1.0"', b'"protocol":"2.0"')
