"""The tracker as its users call it, the original system's included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradtracer
from gradtracer.agent import AgentExporter
from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.exceptions import NothingToWatch
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer_schemas import Diagnosis


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False))
    yield run
    run.finish()


class Table(nn.Module):
    def __init__(self, rows: int = 40, dim: int = 8, **more: object) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(rows, dim, **more)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.item_emb(ids).sum(-1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[torch.Tensor]) -> None:
    for ids in batches:
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()


def batches(steps: int, rows: int = 40, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, rows, (16,), generator=generator) for _ in range(steps)]


def test_a_table_that_is_moved_in_a_pause_is_observed_anew_at_once(run: Run) -> None:
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, track_interval=10, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while tracker.looks_ahead:
        train(model, optimizer, batches(1))
    observer = tracker._observer
    # As after model.cuda(), which leaves the parameter the same object.
    observer.device = torch.device("meta")
    train(model, optimizer, batches(1))
    assert tracker._observer is not observer
    assert tracker._observer.look_ups == 16


def test_a_step_that_is_not_followed_is_not_asked_for_its_gradient(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Table(sparse=True)
    tracker = EmbeddingTracker(model.item_emb, track_interval=2, run=run)
    observer, shown = tracker._observer, list[tuple[bool, bool]]()
    take = observer.before_step

    def note(weight: torch.Tensor, grad: torch.Tensor | None, step: int) -> None:
        shown.append((observer.pauses, grad is None))
        take(weight, grad, step)

    monkeypatch.setattr(observer, "before_step", note)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), batches(150))
    assert set(shown) == {(False, False)}
    assert len(shown) == observer.tracked_steps < tracker.steps == 150


@pytest.mark.parametrize("interval", [1, 10, 100])
@pytest.mark.parametrize("sparse", [False, True])
def test_exposure_is_exact_at_every_interval(run: Run, interval: int, sparse: bool):
    model = Table(sparse=sparse)
    tracker = EmbeddingTracker(model.item_emb, track_interval=interval, run=run)
    seen = batches(200)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), seen)
    truth = torch.bincount(torch.cat(seen), minlength=40)
    assert tracker.figures().counts.tolist() == truth.tolist()


def test_evaluation_and_no_grad_forwards_are_not_exposure(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    model.eval()
    model(torch.arange(10))
    model.train()
    with torch.no_grad():
        model(torch.arange(10))
    assert tracker.figures().unseen.look_ups == 0


def test_gradient_accumulation_counts_every_micro_batch(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        model(torch.arange(10)).mean().backward()
    optimizer.step()
    assert tracker.figures().unseen.look_ups == 40
    assert tracker.steps == 1


def test_the_padding_row_is_neither_seen_nor_dead(run: Run):
    model = Table(padding_idx=0)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), [torch.arange(0, 40)] * 3)
    assert tracker.dead_embeddings() == []
    assert tracker.summary()["coverage_pct"] == 100.0
    assert tracker.figures().rows == 39


def test_an_embedding_bag_counts_every_id_of_every_bag(run: Run):
    bag = nn.EmbeddingBag(10, 4, mode="mean")
    tracker = EmbeddingTracker(bag, run=run)
    optimizer = torch.optim.SGD(bag.parameters(), lr=0.1)
    bag(torch.tensor([1, 1, 2, 3]), torch.tensor([0, 3])).sum().backward()
    bag(input=torch.tensor([[4, 4], [5, 6]])).sum().backward()
    optimizer.step()
    assert tracker.figures().counts.tolist() == [0, 2, 1, 1, 2, 1, 1, 0, 0, 0]


def test_a_weight_that_is_replaced_is_followed(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    model.item_emb.weight = nn.Parameter(torch.zeros(40, 8))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(5))
    assert tracker.figures().unseen.look_ups == 80
    assert tracker.steps == 5


def test_without_an_optimizer_step_may_be_called_by_hand(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    for ids in batches(6):
        model(ids).square().mean().backward()
        with torch.no_grad():
            model.item_emb.weight -= 0.1 * model.item_emb.weight.grad
        tracker.step()
        model.item_emb.weight.grad = None
    assert tracker.steps == 6
    assert tracker.figures().steps == 6


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_step_before_backward_is_noticed_and_said_once(
    run: Run, caplog: pytest.LogCaptureFixture, by_hand: bool
):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for ids in batches(8):
        optimizer.zero_grad()
        loss = model(ids).square().mean()
        tracker.step() if by_hand else optimizer.step()
        loss.backward()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("item_emb is looked up, but no step finds a gradient of it")
    assert tracker.figures().unseen.look_ups == 128


def test_the_right_order_and_a_later_step_without_a_gradient_are_not_spoken_of(
    run: Run, caplog: pytest.LogCaptureFixture
):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches(3))
    for ids in batches(8):
        optimizer.zero_grad()
        model(ids)
        optimizer.step()
    assert tracker.steps == 11
    assert not caplog.records


def test_calling_step_beside_an_optimizer_counts_nothing_twice(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.Adam(model.parameters())
    for ids in batches(5):
        train(model, optimizer, [ids])
        tracker.step()
    assert tracker.steps == 5
    assert run.step == 5


def test_the_run_counts_a_step_once_however_many_tables_it_moves(run: Run):
    model = nn.ModuleList([Table(), Table()])
    for table in model:
        EmbeddingTracker(table.item_emb, run=run)
    optimizer = torch.optim.Adam(model.parameters())
    for ids in batches(5):
        optimizer.zero_grad()
        (model[0](ids) + model[1](ids)).mean().backward()
        optimizer.step()
    assert run.step == 5


def test_a_resumed_training_goes_on_counting(run: Run, tmp_path: Path):
    seen = batches(60)
    model = Table()
    whole = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    train(model, optimizer, seen[:30])
    torch.save(whole.state_dict(), tmp_path / "tracker.pt")
    train(model, optimizer, seen[30:])

    again = Table()
    tracker = EmbeddingTracker(again.item_emb, run=run)
    tracker.load_state_dict(torch.load(tmp_path / "tracker.pt", weights_only=True))
    train(again, torch.optim.SGD(again.parameters(), lr=0.01), seen[30:])
    assert tracker.figures().counts.tolist() == whole.figures().counts.tolist()
    assert (tracker.steps, tracker.figures().steps) == (60, 60)
    assert tracker.figures().zombies.tested == whole.figures().zombies.tested
    assert tracker.figures().unseen == whole.figures().unseen


def test_averages_in_another_layout_begin_anew_and_the_counts_go_on(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), batches(30))
    state, counts = tracker.state_dict(), tracker.figures().counts
    state["observer"]["noise"] = torch.ones(3 * model.item_emb.num_embeddings, dtype=torch.int64)
    again = EmbeddingTracker(Table().item_emb, run=run)
    again.load_state_dict(state)
    assert again.figures().counts.tolist() == counts.tolist()
    assert again.figures().zombies.tested == 0 < tracker.figures().zombies.tested


def test_saliency_is_known_of_the_rows_followed_and_of_no_other(run: Run):
    model = Table(padding_idx=0)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), [torch.arange(0, 30)] * 4)
    found = tracker.saliency()
    assert found.shape == (40,)
    assert (found[1:30] > 0).all()
    assert np.isnan(found[[0, *range(30, 40)]]).all()
    summary = tracker.summary()
    assert 0.01 < summary["saliency_top_share"] < 1.0
    assert 0.5 < summary["saliency_rows_99"] <= 1.0


def test_staleness_is_measured_from_the_last_look_up(run: Run, tmp_path: Path):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    assert "staleness_median" not in tracker.summary()
    train(model, optimizer, [torch.arange(0, 30)])
    assert tracker.summary()["staleness_p95"] == 0
    torch.save(tracker.state_dict(), tmp_path / "tracker.pt")
    tracker = EmbeddingTracker(model.item_emb, run=run)
    tracker.load_state_dict(torch.load(tmp_path / "tracker.pt", weights_only=True))
    train(model, optimizer, [torch.arange(0, 10)] * 20)
    summary = tracker.summary()
    assert (summary["staleness_median"], summary["staleness_p95"]) == (20, 20)
    model.item_emb.weight = nn.Parameter(torch.zeros(40, 8))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), [torch.arange(5)] * 2)
    assert tracker.summary()["staleness_p95"] <= 2


def test_a_state_of_another_table_or_of_nothing_is_refused(run: Run):
    tracker = EmbeddingTracker(Table().item_emb, run=run)
    other = EmbeddingTracker(Table(rows=41).item_emb, run=run)
    with pytest.raises(ValueError, match="a table of 40 x 8, got one of 41 x 8"):
        tracker.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="got a state without 'rows'"):
        tracker.load_state_dict({})


def test_detached_it_stops_and_keeps_its_figures(run: Run):
    model = Table()
    tracker = EmbeddingTracker(model.item_emb, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches(3))
    tracker.detach()
    tracker.detach()
    train(model, optimizer, batches(3))
    assert tracker.figures().unseen.look_ups == 48
    assert not model.item_emb._forward_hooks


def test_what_is_no_embedding_is_refused_with_an_example(run: Run):
    with pytest.raises(NothingToWatch, match=r"got Linear; pass e.g. EmbeddingTracker\(model.item"):
        EmbeddingTracker(nn.Linear(2, 2), run=run)


def test_the_layer_is_named_for_its_attribute_and_names_are_unique(run: Run):
    first, second = Table(), Table()
    assert EmbeddingTracker(first.item_emb, run=run).name == "item_emb"
    assert EmbeddingTracker(second.item_emb, run=run).name == "item_emb_2"


def test_the_originals_methods_keep_their_names_and_types(run: Run, capsys):
    model = Table(rows=400)
    tracker = EmbeddingTracker(model.item_emb, "items", False, 1, run=run)
    train(model, torch.optim.Adam(model.parameters()), batches(60, rows=300))
    assert tracker.dead_embeddings() == sorted(
        set(range(400)) - set(torch.cat(batches(60, rows=300)).tolist())
    )
    assert tracker.zombie_embeddings(threshold=-0.3) == tracker.zombie_embeddings()
    assert tracker.starvation_index().shape == (400,)
    assert 1.0 <= tracker.effective_rank(max_samples=100) <= 8.0
    assert set(tracker.popularity_bias()) == {"gini", "entropy", "coverage"}
    assert {
        "num_embeddings",
        "dead_count",
        "dead_pct",
        "zombie_count",
        "zombie_pct",
        "coverage_pct",
        "gini",
        "effective_rank",
        "rank_utilization",
    } <= set(tracker.summary())
    tracker.report()
    assert "GradTracer: items, 400 rows x 8" in capsys.readouterr().out


def test_the_export_keeps_the_originals_keys_and_adds_evidence_and_site(run: Run):
    model = Table(rows=400)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.Adam(model.parameters()), batches(200, rows=100))
    report = json.loads(AgentExporter.export_embedding(tracker))["gradtracer_embedding_report"]
    assert report["layer"] == "item_emb"
    assert report["embedding_stats"] == {
        "num_embeddings": 400,
        "active_coverage_pct": 25.0,
        "popularity_gini": round(tracker.figures().gini.value, 3),
    }
    (dead,) = [d for d in report["diagnostics"] if d["type"] == "DEAD_EMBEDDINGS"]
    assert {"type", "premise", "implies", "action", "expected_effect", "confidence"} <= set(dead)
    assert dead["evidence"][0]["n"] == 3200
    assert dead["site"]["frames"][0]["text"].startswith("self.item_emb = nn.Embedding(")
    assert dead["id"] == f"DEAD_EMBEDDINGS:item_emb@{run.id}"


def test_the_export_says_what_the_stream_says(run: Run):
    model = Table(rows=400)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.Adam(model.parameters()), batches(200, rows=100))
    tracker.publish()
    tracker.publish()
    train(model, torch.optim.Adam(model.parameters()), batches(10, rows=100))
    streamed = {found.type: found for found in tracker.diagnoses}
    report = json.loads(AgentExporter.export_embedding(tracker))["gradtracer_embedding_report"]
    assert {found["type"] for found in report["diagnostics"]} == set(streamed)
    for found in report["diagnostics"]:
        kept = streamed[found["type"]]
        assert (found["id"], found["first_step"]) == (kept.id, kept.first_step)
        assert found["related"]["watch"]["frames"][0]["text"].startswith("tracker = Embedd")


def test_a_healthy_table_says_so_plainly(run: Run):
    model = Table(sparse=True)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), batches(100))
    report = json.loads(AgentExporter.export_embedding(tracker))["gradtracer_embedding_report"]
    assert report["diagnostics"]["status"].startswith("HEALTHY")


def test_an_export_can_be_kept_beside_the_journal(run: Run):
    tracker = EmbeddingTracker(Table().item_emb, run=run)
    text = AgentExporter.export_embedding(tracker, save=True)
    kept = run.root / ".gradtracer" / "runs" / run.id / "item_emb.json"
    assert json.loads(kept.read_text()) == json.loads(text)


def test_diagnoses_in_the_stream_carry_the_watch_call(run: Run):
    model = Table(rows=400)
    tracker = EmbeddingTracker(model.item_emb, run=run)
    train(model, torch.optim.Adam(model.parameters()), batches(200, rows=100))
    tracker.publish()
    tracker.publish()
    (dead, *_) = [d for d in tracker.diagnoses if d.type == "DEAD_EMBEDDINGS"]
    assert isinstance(dead, Diagnosis)
    assert dead.related["watch"].frames[0].text.startswith("tracker = EmbeddingTracker(")


def test_an_embedding_without_a_run_begins_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setattr("gradtracer.run._current", None)
    model = Table()
    tracker = gradtracer.EmbeddingTracker(model.item_emb, auto_fix=True, track_interval=100)
    assert tracker.run is gradtracer.run.open_run()
    tracker.run.finish()
    assert list((tmp_path / ".gradtracer" / "runs").glob("*/events.jsonl"))
