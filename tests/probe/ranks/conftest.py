"""Trainings of several processes on one machine, each a Python of its own, joined by gloo."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gradtracer_schemas import (
    Envelope,
    LayerWatched,
    LayerWatchedEvent,
    Observation,
    ObservationEvent,
    decode_event,
)
from launching import end, run_with_workers
from patience import PATIENCE

PRELUDE = """
import os, sys, time
import torch
from torch import nn
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import gradtracer

torch.manual_seed(0)
dist.init_process_group("gloo", init_method=os.environ.get("INIT"), rank=int(os.environ["RANK"]),
                        world_size=int(os.environ["WORLD_SIZE"]))
rank, world = dist.get_rank(), dist.get_world_size()

class Net(nn.Module):
    def __init__(self, rows=400, dim=8, **more):
        super().__init__()
        self.item_emb = nn.Embedding(rows, dim, **more)
        self.head = nn.Linear(dim, 1)
    def forward(self, ids):
        return self.head(self.item_emb(ids)).squeeze(-1)

def step(net, optimizer, ids):
    optimizer.zero_grad()
    net(ids).square().sum().backward()
    optimizer.step()
"""


class Ranks:
    """A script, run by several ranks in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "train.py"

    def write(self, body: str) -> None:
        self.path.write_text(PRELUDE + textwrap.dedent(body), encoding="utf-8")

    def run(self, body: str, world_size: int) -> list[subprocess.CompletedProcess[str]]:
        """Start all ranks over a store in a file, and wait for them."""
        self.write(body)
        started = [
            subprocess.Popen(
                [sys.executable, str(self.path)],
                cwd=self.folder,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "1",
                    "RANK": str(rank),
                    "WORLD_SIZE": str(world_size),
                    "INIT": f"file://{self.folder}/store",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world_size)
        ]
        ended: list[subprocess.CompletedProcess[str]] = []
        try:
            for process in started:
                out, err = process.communicate(timeout=PATIENCE)
                ended.append(subprocess.CompletedProcess([], process.returncode, out, err))
        finally:
            for process in started[len(ended) :]:
                end(process)
        return ended

    def torchrun(self, body: str, world_size: int) -> subprocess.CompletedProcess[str]:
        """The same under PyTorch's launcher, over TCP."""
        self.write(body)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        return run_with_workers(
            [sys.executable, *launcher, str(world_size), str(self.path)],
            self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def events(self) -> list[Envelope]:
        """Of the only run that there may be."""
        (folder,) = (self.folder / ".gradtracer" / "runs").glob("*")
        lines = (folder / "events.jsonl").read_bytes().split(b"\n")
        return [decode_event(line) for line in lines if line]

    def bodies(self, kind: type[Envelope]) -> list[Any]:
        return [event.body for event in self.events() if isinstance(event, kind)]

    def last(self) -> Observation:
        """What is known of the table at the end."""
        found = [body for body in self.bodies(ObservationEvent) if body.layer == "item_emb"]
        return found[-1]

    def watched(self) -> LayerWatched:
        """The table, as it was declared."""
        (found,) = [b for b in self.bodies(LayerWatchedEvent) if b.layer == "item_emb"]
        return found


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    return Ranks(tmp_path)
