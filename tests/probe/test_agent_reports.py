"""`AgentExporter`: every answer fits its published schema, and healthy is said plainly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import gradtracer
from gradtracer import AgentExporter
from gradtracer.run import Run
from gradtracer_schemas.report import EmbeddingReport, FlowReport, ManagerReport, TreeReport

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas" / "json"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(500, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.item_emb(ids)).squeeze(-1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A model of which 20 rows of 500 get nine look-ups in ten."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    run = gradtracer.watch(net, optimizer=optimizer, track_interval=1)
    for _ in range(40):
        ids = torch.cat([torch.randint(0, 20, (230,)), torch.randint(0, 400, (26,))])
        optimizer.zero_grad()
        net(ids).square().mean().backward()
        optimizer.step()
    yield run
    run.finish()


def checked(text: str, schema: str, wire_type: Any) -> dict[str, Any]:
    """The report, once the schema accepts it and refuses it without one of its keys."""
    document = json.loads(text)
    msgspec.json.decode(text, type=wire_type)
    published = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(published)
    validator.validate(document)
    (report,) = document.values()
    for key in report:
        less = {name: value for name, value in report.items() if name != key}
        assert not validator.is_valid({next(iter(document)): less}), key
    return report


def tracker(run: Run, kind: type[Any]) -> Any:
    return next(each for each in run.trackers if isinstance(each, kind))


def test_report_of_a_table_fits_its_schema(run: Run) -> None:
    found = tracker(run, gradtracer.EmbeddingTracker)
    report = checked(AgentExporter.export_embedding(found), "embedding_report", EmbeddingReport)
    assert "POPULARITY_BIAS" in [each["type"] for each in report["diagnostics"]]
    assert report["embedding_stats"]["num_embeddings"] == 500


def test_report_of_layers_fits_its_schema_and_says_healthy(run: Run) -> None:
    found = tracker(run, gradtracer.FlowTracker)
    report = checked(AgentExporter.export_flow(found), "flow_report", FlowReport)
    head = next(each for each in report["layers"] if each["layer"] == "head")
    diagnostics = head["diagnostics"]
    assert isinstance(diagnostics, list) or diagnostics["status"].startswith("HEALTHY: no test")


def test_towers_fit_their_schema_and_are_read_by_the_loggers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradtracer.bridges.readings import read

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    user, item = nn.Embedding(50, 8), nn.Embedding(50, 8)
    model = nn.ModuleDict({"user_emb": user, "item_emb": item})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = gradtracer.watch(model, optimizer=optimizer, track_interval=1)
    towers = {"user": ["user_emb"], "item": ["item_emb"]}
    found = gradtracer.FlowManager(model, towers, track_interval=1, run=run)
    for _ in range(160):
        ids = torch.randint(0, 50, (64,))
        optimizer.zero_grad()
        ((user(ids) * item(ids)).sum(-1) - 1).square().mean().backward()
        optimizer.step()
    report = checked(AgentExporter.export_manager(found), "manager_report", ManagerReport)
    scalars = read(run).scalars
    run.finish()
    assert [each["tower"] for each in report["towers"]] == ["user", "item"]
    for each in report["towers"]:
        ratio = each["values"]["update_ratio"]
        assert scalars[f"gradtracer/{each['tower']}/update_ratio"] == ratio > 0


def test_report_of_trees_fits_its_schema(run: Run) -> None:
    import xgboost

    x = np.random.default_rng(0).normal(size=(300, 3))
    booster = xgboost.train({"verbosity": 0}, xgboost.DMatrix(x, label=x[:, 0]), 7)
    found = gradtracer.TreeDynamicsTracker(booster)
    report = checked(AgentExporter.export_trees(found), "tree_report", TreeReport)
    assert report["dynamics"]["num_trees"] == 7


def test_healthy_table_says_so_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    run = gradtracer.watch(net, optimizer=optimizer, track_interval=1)
    for _ in range(40):
        optimizer.zero_grad()
        net(torch.randint(0, 500, (256,))).square().mean().backward()
        optimizer.step()
    found = tracker(run, gradtracer.EmbeddingTracker)
    report = checked(AgentExporter.export_embedding(found), "embedding_report", EmbeddingReport)
    run.finish()
    assert report["diagnostics"]["status"].startswith("HEALTHY: no test finds anything wrong")
    assert "10,240 look-ups" in report["diagnostics"]["status"]


def test_what_was_never_seen_is_not_called_healthy(run: Run) -> None:
    net = Net()
    found = gradtracer.EmbeddingTracker(next(net.children()), run=run)
    towers = gradtracer.FlowManager(net, run=run)
    report = checked(AgentExporter.export_embedding(found), "embedding_report", EmbeddingReport)
    assert report["diagnostics"]["status"].startswith("UNKNOWN: no look-ups of this table")
    report = checked(AgentExporter.export_manager(towers), "manager_report", ManagerReport)
    assert report["towers"]
    for each in report["towers"]:
        assert each["diagnostics"]["status"].startswith("UNKNOWN: no tracked steps")
