"""The loggers, each asked for what was logged: wandb offline, TensorBoard, MLflow."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradtracer.bridges import tensorboard
from gradtracer.bridges.readings import COLUMNS, read
from gradtracer.exceptions import NothingToWatch

TRAIN = """
import json, os
import torch
from torch import nn
import gradtracer
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_emb = nn.Embedding(2000, 8)
        self.head = nn.Linear(8, 1)
    def forward(self, ids):
        return self.head(self.item_emb(ids)).squeeze(-1)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
run = gradtracer.watch(net, optimizer=optimizer, track_interval=1)
for _ in range(100):
    ids = torch.cat([torch.randint(0, 20, (230,)), torch.randint(0, 2000, (26,))])
    optimizer.zero_grad()
    (net(ids) - ids % 2).square().mean().backward()
    optimizer.step()
"""
BIAS = "POPULARITY_BIAS"
BLOCK, FULL, LAST = 32 * 1024, 1, 4


def train(folder: Path, then: str) -> dict[str, object]:
    """Train where the exposure is uneven, log, and give what the script printed last."""
    script = folder / "train.py"
    script.write_text(TRAIN + textwrap.dedent(then), encoding="utf-8")
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
    # The light MLflow of the tests has no store but this one; others take the same calls.
    offline["MLFLOW_ALLOW_FILE_STORE"] = "true"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, **offline, "WANDB_DIR": str(folder), "MLFLOW_TRACKING_URI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def agree(logged: dict[str, object], found: dict[str, float]) -> None:
    """What was read back is what was returned, and holds the figures of the table."""
    for name in ("gini", "effective_rank", "dead_count", "num_embeddings", "diagnoses"):
        assert f"gradtracer/item_emb/{name}" in logged
    assert found.keys() >= logged.keys()
    for name, value in logged.items():
        assert found[name] == pytest.approx(value, rel=1e-6)


def records(log: bytes) -> Iterator[bytes]:
    """Records of wandb's file: a header of 7 bytes, then LevelDB's log format."""
    place, whole = 7, b""
    while place + 7 <= len(log):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", log, place)
        whole += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""


def test_wandb_holds_figures_and_findings(tmp_path: Path) -> None:
    logged = train(
        tmp_path,
        """
        import wandb
        wandb.init(project="p", dir=".")
        logged = gradtracer.log_to_wandb(run)
        gradtracer.log_to_wandb(run, step=5)
        wandb.finish()
        print(json.dumps(logged))
        """,
    )
    from wandb.proto import wandb_internal_pb2

    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    history: list[dict[str, object]] = []
    for content in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.HasField("history"):
            history.append(
                {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.history.item
                }
            )
    assert len(history) == 2
    found = {name: value for name, value in history[0].items() if isinstance(value, int | float)}
    agree(logged, found)
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/gradtracer/diagnoses_0_*.json")
    held = json.loads(table.read_text())
    assert held["columns"] == list(COLUMNS)
    assert any(row[:2] == ["item_emb", BIAS] for row in held["data"])
    assert history[1]["_step"] == 5


def test_wandb_without_a_run_says_what_to_call(tmp_path: Path) -> None:
    said = train(
        tmp_path,
        """
        try:
            gradtracer.log_to_wandb(run)
        except gradtracer.UsageError as error:
            print(json.dumps(str(error)))
        """,
    )
    assert "wandb.init" in str(said)


def test_tensorboard_holds_figures_and_findings(tmp_path: Path) -> None:
    logged = train(
        tmp_path,
        """
        from torch.utils.tensorboard import SummaryWriter
        with SummaryWriter("tb") as writer:
            logged = gradtracer.log_to_tensorboard(run, writer)
        print(json.dumps(logged))
        """,
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(str(tmp_path / "tb"))
    held.Reload()
    scalars = {name: held.Scalars(name)[0] for name in held.Tags()["scalars"]}
    agree(logged, {name: event.value for name, event in scalars.items()})
    assert {event.step for event in scalars.values()} == {100}
    (text,) = held.Tensors("gradtracer/diagnoses/text_summary")
    assert f"| item_emb | {BIAS} |" in text.tensor_proto.string_val[0].decode()


def test_mlflow_holds_figures_tag_and_findings(tmp_path: Path) -> None:
    logged = train(
        tmp_path,
        """
        import mlflow
        mlflow.set_tracking_uri("file:mlruns")
        with mlflow.start_run() as active:
            logged = gradtracer.log_to_mlflow(run)
        held = mlflow.get_run(active.info.run_id)
        gini = mlflow.MlflowClient().get_metric_history(
            active.info.run_id, "gradtracer/item_emb/gini")
        found = mlflow.artifacts.load_dict(f"{held.info.artifact_uri}/gradtracer/diagnoses.json")
        print(json.dumps({
            "logged": logged, "metrics": held.data.metrics, "tags": held.data.tags,
            "steps": [each.step for each in gini], "found": found,
        }))
        """,
    )
    agree(logged["logged"], logged["metrics"])  # type: ignore[arg-type]
    assert BIAS in logged["tags"]["gradtracer.diagnoses"]  # type: ignore[index]
    assert logged["steps"] == [100]
    types = [each["type"] for each in logged["found"]["diagnoses"]]  # type: ignore[index]
    assert BIAS in types


def test_trees_and_layers_are_read_alike(tmp_path: Path) -> None:
    read_back = train(
        tmp_path,
        """
        from gradtracer.bridges.readings import read
        layers = [each for each in run.trackers if type(each).__name__ == "FlowTracker"]
        import numpy, xgboost
        x = numpy.random.default_rng(0).normal(size=(300, 3))
        booster = xgboost.train({"verbosity": 0}, xgboost.DMatrix(x, label=x[:, 0]), 5)
        trees = read(gradtracer.TreeDynamicsTracker(booster))
        print(json.dumps({
            "layers": sorted(read(layers[0]).scalars) if layers else None,
            "trees": trees.scalars, "step": trees.step, "run": sorted(read(run).scalars),
        }))
        """,
    )
    trees = {name.rpartition("/")[2]: value for name, value in read_back["trees"].items()}  # type: ignore[attr-defined]
    assert (trees["num_trees"], read_back["step"]) == (5, 5)
    if read_back["layers"] is not None:
        assert any(name.startswith("gradtracer/head/") for name in read_back["layers"])  # type: ignore[attr-defined]
    assert "gradtracer/item_emb/gini" in read_back["run"]  # type: ignore[operator]


def test_what_is_neither_tracker_nor_run_is_refused() -> None:
    with pytest.raises(NothingToWatch, match=r"expected a tracker or a run, got int"):
        read(3)  # type: ignore[arg-type]


def test_healthy_is_said_plainly() -> None:
    assert tensorboard._table([]) == "HEALTHY: no test finds anything wrong."
