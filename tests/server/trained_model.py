"""A model of two tables with its checkpoint and recipe, as a user's folder has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MODULE = """\
import torch
from torch import nn


class MF(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(2000, 16)
        self.item = nn.Embedding(3000, 16)


def build():
    return MF()


def build_aloud():
    print("this is not for the channel")
    return MF()


def norm(model):
    return float(model.item(torch.arange(3000)).norm())


def nothing(model):
    return float("nan")


def other():
    return nn.Linear(2, 2)


def abort(model):
    import os

    print("going down", file=__import__("sys").stderr)
    os._exit(3)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(build().state_dict(), "model.pt")
    torch.save({"model_state_dict": build().state_dict(), "epoch": 3}, "both.pt")
    torch.save({"epoch": 3}, "empty.pt")
"""
RECIPE = {
    "model": "MF",
    "metric": "norm",
    "layers": {"user": {"quantization": "INT4"}, "item": {"quantization": "INT8"}},
}


def leave_trained_model(folder: Path) -> None:
    """Leave a module, a checkpoint and a recipe, as a training would."""
    (folder / "mf.py").write_text(MODULE, encoding="utf-8")
    (folder / "r.json").write_text(json.dumps(RECIPE), encoding="utf-8")
    subprocess.run([sys.executable, "mf.py"], cwd=folder, check=True)
