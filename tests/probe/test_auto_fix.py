"""Auto-fix scales the updates of the rows it names, under every optimizer, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.table_observer import Treatment
from gradtracer.auto_fix.shrinkage import split_arms
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer_schemas import InterventionEvent, decode_event

OPTIMIZERS = {
    "SGD": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), False),
    "Adam": (lambda p: torch.optim.Adam(p, lr=0.01), False),
    "AdamW": (lambda p: torch.optim.AdamW(p, lr=0.01), False),
    "Adagrad": (lambda p: torch.optim.Adagrad(p, lr=0.1), False),
    "RMSprop": (lambda p: torch.optim.RMSprop(p, lr=0.01), False),
    "SparseAdam": (lambda p: torch.optim.SparseAdam(list(p), lr=0.01), True),
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False))
    yield run
    run.finish()


def step(table: nn.Embedding, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> torch.Tensor:
    before = table.weight.detach().clone()
    optimizer.zero_grad()
    (table(ids) - 1).square().sum().backward()
    optimizer.step()
    return table.weight.detach() - before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_realised_update_has_the_stated_size(run: Run, name: str):
    make, sparse = OPTIMIZERS[name]
    torch.manual_seed(0)
    table = nn.Embedding(20, 4, sparse=sparse)
    twin = nn.Embedding(20, 4, sparse=sparse)
    twin.load_state_dict(table.state_dict())
    tracker = EmbeddingTracker(table, run=run)
    optimizer, twin_optimizer = make(table.parameters()), make(twin.parameters())
    rows, scales = torch.tensor([3, 7]), torch.tensor([[0.25], [0.5]])
    ids = torch.arange(10)
    for _ in range(5):
        step(table, optimizer, ids)
        step(twin, twin_optimizer, ids)
    tracker._observer.treatment = Treatment(rows, scales)
    scaled, plain = step(table, optimizer, ids), step(twin, twin_optimizer, ids)
    assert torch.allclose(scaled[rows], scales * plain[rows], rtol=1e-3, atol=1e-7)
    others = torch.tensor([i for i in range(20) if i not in (3, 7)])
    assert torch.equal(scaled[others], plain[others])


def alternate(table: nn.Embedding, tracker: EmbeddingTracker, steps: int, bad: int) -> None:
    """Rows below `bad` get a gradient that turns around at every step; the others noise."""
    optimizer = torch.optim.SGD(table.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(table.weight.shape, generator=generator)
    for number in range(steps):
        gradient = torch.randn(table.weight.shape, generator=generator)
        gradient[:bad] = direction[:bad] * (-1) ** number
        optimizer.zero_grad()
        (table(torch.arange(table.num_embeddings)) * gradient).sum().backward()
        optimizer.step()


def test_named_rows_are_treated_but_for_the_held_out_share_and_all_is_said(run: Run):
    torch.manual_seed(0)
    table = nn.Embedding(400, 16)
    tracker = EmbeddingTracker(table, auto_fix=True, run=run)
    alternate(table, tracker, steps=40, bad=40)
    tracker.publish()
    treatment = tracker._observer.treatment
    assert treatment is not None
    named = set(tracker.zombie_embeddings())
    treated = set(treatment.rows.tolist())
    assert treated < named
    assert len(named - treated) == pytest.approx(0.2 * len(named), abs=0.15 * len(named))
    assert ((treatment.scales >= 0.1) & (treatment.scales <= 1)).all()
    run.finish()
    lines = (run.root / ".gradtracer/runs" / run.id / "events.jsonl").read_bytes().splitlines()
    events = [decode_event(line) for line in lines]
    (said,) = [event.body for event in events if isinstance(event, InterventionEvent)]
    assert said.rows == len(treated)
    assert said.held_out == len(named - treated)
    (audited,) = [
        json.loads(line)
        for line in (run.root / ".gradtracer" / "audit.jsonl").read_text().splitlines()
    ]
    assert set(audited["indices"]) == treated
    assert set(audited["held_out"]) == named - treated
    assert audited["num_affected"] == len(treated)


@pytest.mark.parametrize("auto_fix", [False, True])
def test_what_is_on_is_not_offered(run: Run, auto_fix: bool):
    table = nn.Embedding(400, 16)
    tracker = EmbeddingTracker(table, auto_fix=auto_fix, run=run)
    alternate(table, tracker, steps=40, bad=40)
    (zombies,) = [found for found in tracker.findings() if found.type == "ZOMBIE_EMBEDDINGS"]
    assert ("enable-auto-fix" in {offer.fix for offer in zombies.fixes}) is not auto_fix
    assert ("already" in zombies.action) is auto_fix


def test_a_row_keeps_its_arm(run: Run):
    table = nn.Embedding(400, 16)
    tracker = EmbeddingTracker(table, run=run)
    alternate(table, tracker, steps=40, bad=40)
    figures = tracker.figures()
    first = split_arms(figures, holdout=0.5, seed=1)
    fewer = figures._replace(zombies=figures.zombies._replace(rows=figures.zombies.rows[::2]))
    second = split_arms(fewer, holdout=0.5, seed=1)
    assert set(second.treated) <= set(first.treated)
    assert set(second.held_out) <= set(first.held_out)


@pytest.mark.parametrize(("holdout", "empty"), [(0.0, "held_out"), (1.0, "treated")])
def test_a_holdout_of_none_or_all_is_allowed(run: Run, holdout: float, empty: str):
    table = nn.Embedding(400, 16)
    tracker = EmbeddingTracker(table, run=run)
    alternate(table, tracker, steps=40, bad=40)
    arms = split_arms(tracker.figures(), holdout=holdout, seed=1)
    assert getattr(arms, empty).size == 0
    assert arms.treated.size + arms.held_out.size == len(tracker.zombie_embeddings())


def test_an_audit_that_cannot_be_written_is_kept_in_memory(tmp_path: Path, caplog):
    from gradtracer import AutoFixAuditLogger

    (tmp_path / ".gradtracer").write_text("in the way")
    logger = AutoFixAuditLogger("run", tmp_path)
    for _ in range(2):
        logger.log_intervention(1, "item_emb", "zombie_penalty", [1, 2], 0.1)
    assert logger.summary() == {"total_events": 2, "affected_by_type": {"zombie_penalty": 4}}
    assert caplog.text.count("kept in memory") == 1


def test_the_gradient_that_others_share_is_not_written(run: Run):
    table = nn.Embedding(20, 4)
    tracker = EmbeddingTracker(table, run=run)
    tracker._observer.treatment = Treatment(torch.tensor([3]), torch.tensor([[0.1]]))
    table.weight.grad = shared = torch.ones(20, 4)
    torch.optim.SGD([table.weight], lr=0.1).step()
    assert torch.equal(shared, torch.ones(20, 4))
    assert np.isfinite(table.weight.detach().numpy()).all()
