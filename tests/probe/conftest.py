"""Scripts that train for real in a process of their own, and what their runs left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradtracer_schemas import Envelope, decode_event
from patience import PATIENCE

PRELUDE = """
import sys, time, os
import torch
from torch import nn
import gradtracer
class Net(nn.Module):
    def __init__(self, rows=50, dim=8, **kw):
        super().__init__()
        self.item_emb = nn.Embedding(rows, dim, **kw)
    def forward(self, ids):
        return self.item_emb(ids).sum(-1)
def train(net, optimizer, steps, batch=16, rows=50):
    for _ in range(steps):
        ids = torch.randint(0, rows, (batch,))
        optimizer.zero_grad()
        net(ids).square().mean().backward()
        optimizer.step()
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
"""


class Script:
    """A training script in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "train.py"

    def write(self, body: str, prelude: str = PRELUDE) -> Path:
        self.path.write_text(prelude + textwrap.dedent(body), encoding="utf-8")
        return self.path

    def start(self, body: str, prelude: str = PRELUDE, **environment: str) -> subprocess.Popen[str]:
        self.write(body, prelude)
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(self.path)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, body: str, prelude: str = PRELUDE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(body, prelude, **environment)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def line_of(self, text: str) -> int:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    @property
    def run_folders(self) -> list[Path]:
        return sorted((self.folder / ".gradtracer" / "runs").glob("*"))

    def events(self) -> list[Envelope]:
        """Events of the only run, from its journal."""
        (folder,) = self.run_folders
        lines = (folder / "events.jsonl").read_bytes().split(b"\n")
        return [decode_event(line) for line in lines if line]

    def wait_for(self, process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1])
            assert time.monotonic() < deadline, "the script did not get there"
            time.sleep(0.02)

    def journal_holds(self, text: bytes) -> bool:
        return any(
            text in path.read_bytes()
            for path in self.folder.glob(".gradtracer/runs/*/events.jsonl")
        )


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    yield Script(tmp_path)


@pytest.fixture
def terminate() -> Callable[[subprocess.Popen[str], signal.Signals], int]:
    """Send a signal and wait for the end."""

    def send(process: subprocess.Popen[str], number: signal.Signals) -> int:
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        return process.returncode

    return send
