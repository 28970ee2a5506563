"""Tables that a model keeps in a plain list are found, registered by the fix, and then trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import PATIENCE

SCRIPT = """\
import torch
from torch import nn


class Scores(nn.Module):
    def __init__(self, sizes, dim=8):
        super().__init__()
        self.tables = [nn.Embedding(n, dim) for n in sizes]
        self.towers = {"top": nn.Sequential(nn.Linear(dim, dim), nn.ReLU())}
        self.out = nn.Linear(dim, 1)

    def forward(self, ids):
        met = sum(table(ids[:, place]) for place, table in enumerate(self.tables))
        return self.out(self.towers["top"](met)).squeeze(-1)


torch.manual_seed(0)
model = Scores([30, 40])
first = model.tables[0].weight.detach().clone()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(60):
    ids = torch.randint(0, 30, (64, 2))
    loss = (model(ids) - ids.sum(-1) % 2).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("moved" if (model.tables[0].weight != first).any() else "as it was")
"""


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def stagnating(folder: Path) -> list[dict[str, Any]]:
    words = ("check", "--select", "STAGNATION", "--output-format", "json")
    done = command(folder, "gradtracer_server", *words)
    return json.loads(done.stdout)


def test_tables_in_a_plain_list_are_trained_once_the_fix_is_made(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'scores'\n", encoding="utf-8")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = command(tmp_path, "gradtracer", "train.py")
    assert (done.returncode, done.stdout) == (0, "as it was\n"), done.stderr
    assert {each["layer"] for each in stagnating(tmp_path)} == {
        "tables.0",
        "tables.1",
        "towers.top.0",
    }
    fixed = command(tmp_path, "gradtracer_server", "fix", "--select", "STAGNATION", "--unsafe")
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    text = script.read_text(encoding="utf-8")
    assert "self.tables = nn.ModuleList([nn.Embedding(n, dim) for n in sizes])" in text
    assert 'self.towers = nn.ModuleDict({"top": nn.Sequential(' in text
    done = command(tmp_path, "gradtracer", "train.py")
    assert (done.returncode, done.stdout) == (0, "moved\n"), done.stderr
    assert stagnating(tmp_path) == []
