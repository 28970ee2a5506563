"""Every fix, made in a real training script at the sites that its run recorded, runs to the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gradtracer_schemas import Diagnosis, Evidence, FixOffer, SourceSite
from gradtracer_server.fixes.proposal import FixContext, Frame, ProposedFix
from gradtracer_server.fixes.registry import FIXES, propose
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.edits import apply_edits
from gradtracer_server.source.workspace import Workspace
from patience import PATIENCE

SCRIPT = """\
import argparse

import torch
import torch.nn.functional as F
from torch import nn

import gradtracer

ROWS = 400


class Net(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.user_emb = nn.Embedding(50, dim)
        self.item_emb = nn.Embedding(ROWS, dim)
        self.fc = nn.Linear(dim, 1)

    def forward(self, users, items):
        both = self.user_emb(users) * self.item_emb(items)
        return F.relu(self.fc(both)).squeeze(-1)


def train(model, optimizer, steps=30):
    for _ in range(steps):
        users, items = torch.randint(0, 50, (64,)), torch.randint(0, 40, (64,))
        loss = (model(users, items) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-2)
parser.add_argument("--weight-decay", type=float, default=1e-4)
args = parser.parse_args([])
torch.manual_seed(0)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
run = gradtracer.watch(model, optimizer=optimizer)
"""
CALLED = SCRIPT + 'print("loss", train(model, optimizer))\n'
INLINE = (
    SCRIPT
    + """\
for step in range(30):
    users, items = torch.randint(0, 50, (64,)), torch.randint(0, 40, (64,))
    loss = (model(users, items) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss", loss.item(), model.item_emb(torch.tensor([ROWS - 1])).shape[0])
"""
)
LOADED = """\
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gradtracer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.user_emb = nn.Embedding(50, 8)
        self.item_emb = nn.Embedding(40, 8)

    def forward(self, users, items):
        logits = self.user_emb(users) @ self.item_emb(items).T
        return F.cross_entropy(logits, torch.arange(len(items)))


model = Net()
optimizer = torch.optim.Adam(model.parameters())
run = gradtracer.watch(model)
users, items = torch.randint(0, 50, (256,)), torch.randint(0, 40, (256,))
data = TensorDataset(users, items)
loader = DataLoader(data, batch_size=32, shuffle=True)
for user, item in loader:
    optimizer.zero_grad()
    loss = model(user, item)
    loss.backward()
    optimizer.step()
print("loss", loss.item())
"""
RECORD = """
import runpy, sys
import msgspec, gradtracer
from gradtracer.training_sites import training_sites
names = runpy.run_path(sys.argv[1], run_name="__main__")
related = training_sites(names["optimizer"]).related()
related["watch"] = names["run"].watch_site
sites = {"layers": gradtracer.locate(names["model"]), "related": related}
print(msgspec.json.encode(sites).decode())
"""


class Sites(msgspec.Struct):
    """What a run recorded."""

    layers: dict[str, SourceSite]
    related: dict[str, SourceSite]


class Project:
    """A training script, the sites of its run, and its text as fixes change it."""

    def __init__(self, root: Path, text: str) -> None:
        self.root, self.path = root, root / "train.py"
        self.path.write_text(text, encoding="utf-8")
        recipe = {"model": "Net", "layers": {"item_emb": {"quantization": "INT8"}}}
        (root / RECIPE).write_text(json.dumps(recipe), encoding="utf-8")
        told = self._python("-c", RECORD, str(self.path))
        assert told.returncode == 0, told.stderr
        self.sites = msgspec.json.decode(told.stdout.splitlines()[-1], type=Sites)
        self.workspace = Workspace([root])

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        return self._python(str(self.path))

    def propose(self, fix: str, layer: str, parameters: dict[str, Any]) -> ProposedFix:
        documents = Documents()

        def frames(site: SourceSite) -> list[Frame]:
            found: list[Frame] = []
            for frame in site.frames:
                path = self.workspace.resolve_file(frame.file, str(self.root), self.root)
                source = None if path is None else documents.get(path)
                if path is not None and source is not None:
                    found.append((path, source, resolve(frame, source)))
            return found

        evidence = Evidence(
            statistic="x", value=1, threshold=0, comparison="above", n=9, p_value=0.01
        )
        diagnosis = Diagnosis(
            id=f"DEAD_EMBEDDINGS:{layer}@run",
            type="DEAD_EMBEDDINGS",
            layer=layer,
            severity="warning",
            confidence=0.9,
            premise="p",
            implies="i",
            action="a",
            expected_effect="e",
            evidence=[evidence],
            site=self.sites.layers[layer],
            related=self.sites.related,
        )
        (proposed,) = propose(
            FixContext(diagnosis, FixOffer(fix=fix, parameters=parameters), frames)
        )
        return proposed

    def make(self, proposed: ProposedFix) -> None:
        for path, edits in proposed.edits().items():
            text = apply_edits(path.read_bytes().decode(), edits)
            path.write_bytes(text.encode())


RECIPE = "gradtracer_recipe.json"
DECAY = {"weight_decay": 0.2, "measured_decay": 1e-4}
LAYER_RATE = {"lr": 1e-3, "measured_lr": 1e-2, "parameters": "item_emb.weight"}
CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("reduce-learning-rate", "item_emb", {"lr": 1e-3}, "default=0.001"),
    ("reduce-learning-rate", "item_emb", LAYER_RATE, '"lr": 0.001}'),
    ("reduce-learning-rate", "fc", {"lr": 1e-3, "parameters": "fc"}, "model.fc.parameters()"),
    ("reduce-weight-decay", "item_emb", {"weight_decay": 1e-5}, "default=1e-5"),
    ("reduce-embedding-dim", "item_emb", {"embedding_dim": 8}, "dim=8"),
    ("clip-gradients", "fc", {"max_norm": 0.5}, "clip_grad_norm_(model.parameters(), 0.5)"),
    ("replace-activation", "fc", {"to": "LeakyReLU"}, "F.leaky_relu("),
    ("sparse-gradients", "item_emb", {"optimizer": "Adam"}, "sparse_optimizer.step()"),
    ("shrink-table", "item_emb", {"num_embeddings": 40}, "nn.Embedding(min(ROWS, 40), dim)"),
    ("enable-auto-fix", "item_emb", {}, "auto_fix=True"),
    ("suppress", "item_emb", {}, "# gradtracer: ignore[DEAD_EMBEDDINGS]"),
]
ALONE: list[tuple[str, str, dict[str, Any], str]] = [
    ("raise-learning-rate", "fc", {"lr": 0.1, "measured_lr": 1e-2}, "default=0.1"),
    ("set-weight-decay", "fc", DECAY, "torch.optim.AdamW("),
    ("decay-tables", "fc", DECAY | {"tables": ["item_emb"]}, '"weight_decay": 0.2}'),
    ("train-longer", "fc", {"factor": 2}, "for step in range(60):"),
    ("insert-normalisation", "fc", {}, "nn.Sequential(nn.Linear(dim, 1), nn.LayerNorm(1))"),
    ("apply-recipe", "item_emb", {"path": RECIPE}, f'gradtracer.compress(model, "{RECIPE}")'),
]
"""Cases that take back what one of the others does, or end what it goes on from."""
LOADED_CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("log-q-correction", "item_emb", {}, "logits - gradtracer.log_q(self.item_emb, items)"),
    ("inverse-frequency-weights", "item_emb", {"power": 0.3}, "sampler=torch.utils.data."),
]


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("inline"), INLINE)


@pytest.mark.parametrize(("fix", "layer", "parameters", "expected"), [*CASES, *ALONE])
def test_a_fixed_script_trains_to_the_end(
    inline: Project, fix: str, layer: str, parameters: dict[str, Any], expected: str
) -> None:
    inline.path.write_text(INLINE, encoding="utf-8")
    proposed = inline.propose(fix, layer, parameters)
    assert proposed.disabled_reason is None
    inline.make(proposed)
    assert expected in inline.path.read_text(encoding="utf-8")
    done = inline.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loss ")


def test_fixes_of_the_loss_and_the_sampling_train_to_the_end_together(tmp_path: Path) -> None:
    project = Project(tmp_path, LOADED)
    for fix, layer, parameters, expected in LOADED_CASES:
        proposed = project.propose(fix, layer, parameters)
        assert proposed.disabled_reason is None
        project.make(proposed)
        assert expected in project.path.read_text(encoding="utf-8")
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loss ")


def test_every_fix_of_a_training_loop_is_among_them() -> None:
    made = {case[0] for case in (*CASES, *ALONE, *LOADED_CASES)}
    boosted = {"constrain-monotone", "edit-booster-parameter", "leave-out-column"}
    assert made == set(FIXES) - boosted - {"clear-gradients", "register-modules"}


def test_a_script_that_never_cleared_its_gradients_trains_to_the_end(inline: Project) -> None:
    text = INLINE.replace("\n    optimizer.zero_grad()\n", "\n")
    assert text != INLINE
    inline.path.write_text(text, encoding="utf-8")
    proposed = inline.propose("clear-gradients", "fc", {})
    assert proposed.disabled_reason is None
    inline.make(proposed)
    assert "optimizer.step()\n    optimizer.zero_grad()" in inline.path.read_text(encoding="utf-8")
    done = inline.run()
    assert done.returncode == 0, done.stderr


def test_fixes_made_one_after_another_train_to_the_end(tmp_path: Path) -> None:
    project = Project(tmp_path, INLINE)
    refused: dict[str, str] = {}
    for fix, layer, parameters, _ in CASES:
        proposed = project.propose(fix, layer, parameters)
        if proposed.disabled_reason is None:
            project.make(proposed)
        else:
            refused[f"{fix} {sorted(parameters)}"] = proposed.disabled_reason
    done = project.run()
    assert done.returncode == 0, done.stderr
    # The second group would need the list of the first; clipping stands in the way of sparseness.
    assert list(refused) == [
        "reduce-learning-rate ['lr', 'parameters']",
        "sparse-gradients ['optimizer']",
    ]


def test_a_loop_in_a_function_is_edited_there_or_left_alone(tmp_path: Path) -> None:
    project = Project(tmp_path, CALLED)
    clip = project.propose("clip-gradients", "fc", {"max_norm": 0.5})
    sparse = project.propose("sparse-gradients", "item_emb", {"optimizer": "Adam"})
    assert sparse.disabled_reason == (
        "optimizer is also used on line 42, where two would be needed"
    )
    project.make(clip)
    assert "clip_grad_norm_(model.parameters(), 0.5)\n        optimizer.step()" in (
        project.path.read_text(encoding="utf-8")
    )
    done = project.run()
    assert done.returncode == 0, done.stderr
