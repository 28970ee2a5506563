"""Exposure and steps are right in every way that people train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.run import Run
from gradtracer.settings import Settings

IDS = torch.arange(16)
STEPS = 3


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False))
    yield run
    run.finish()
    assert "probe_fault" not in next(tmp_path.rglob("events.jsonl")).read_text()


class Scorer(nn.Module):
    def __init__(self, **more: object) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 8, **more)
        self.head = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids)).squeeze(-1)


def train(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    forward: Callable[[], torch.Tensor] | None = None,
) -> None:
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        (model(IDS) if forward is None else forward()).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()


def observed(tracker: EmbeddingTracker) -> tuple[int, int]:
    figures = tracker.figures()
    assert figures.counts[:16].tolist() == [figures.counts[0]] * 16
    return figures.unseen.look_ups, tracker.steps


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "Adam": lambda m: torch.optim.Adam(m.parameters()),
    "AdamW": lambda m: torch.optim.AdamW(m.parameters()),
    "Adagrad": lambda m: torch.optim.Adagrad(m.parameters()),
    "RMSprop": lambda m: torch.optim.RMSprop(m.parameters()),
    "fused": lambda m: torch.optim.Adam(m.parameters(), fused=True),
    "foreach": lambda m: torch.optim.Adam(m.parameters(), foreach=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_seen(run: Run, name: str) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    train(model, [OPTIMIZERS[name](model)])
    assert observed(tracker) == (48, 3)
    velocity = tracker.figures().velocity
    assert velocity is not None
    assert velocity > 0


def test_a_sparse_table_beside_a_dense_head(run: Run) -> None:
    model = Scorer(sparse=True)
    tracker = EmbeddingTracker(model.table, run=run)
    sparse = torch.optim.SparseAdam(model.table.parameters())
    train(model, [sparse, torch.optim.Adam(model.head.parameters())])
    assert observed(tracker) == (48, 3)
    assert run.step == 3


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_compiled_model_is_counted_and_stays_one_graph(
    run: Run, backend: str, whole: bool
) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    train(
        torch.compile(model, backend=backend, fullgraph=whole),
        [torch.optim.Adam(model.parameters())],
    )
    assert observed(tracker) == (48, 3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_forward_counts_once(run: Run, reentrant: bool) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    anchor = torch.zeros(16, 8, requires_grad=True)

    def forward() -> torch.Tensor:
        return checkpoint(
            lambda ids, zero: model.head(model.table(ids) + zero),
            IDS,
            anchor,
            use_reentrant=reentrant,
        )

    train(model, [torch.optim.Adam(model.parameters())], forward)
    assert observed(tracker) == (48, 3)


def test_a_step_that_the_gradient_scaler_skips_is_no_step(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    optimizer = torch.optim.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    for number in range(5):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(IDS).float().mean()
        scaler.scale(loss * (float("inf") if number == 2 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert observed(tracker) == (80, 4)


def test_max_norm_is_no_second_look_up(run: Run) -> None:
    model = Scorer(max_norm=0.5)
    tracker = EmbeddingTracker(model.table, run=run)
    train(model, [torch.optim.SGD(model.parameters(), lr=0.1)])
    assert observed(tracker) == (48, 3)


def test_a_table_tied_to_the_output_counts_look_ups_only(run: Run) -> None:
    table, head = nn.Embedding(40, 8), nn.Linear(8, 40, bias=False)
    head.weight = table.weight
    tracker = EmbeddingTracker(table, run=run)
    train(table, [torch.optim.Adam(table.parameters())], lambda: head(table(IDS)))
    assert observed(tracker) == (48, 3)
    assert tracker.figures().coverage == pytest.approx(0.4)


def test_a_table_used_twice_in_a_forward_counts_both(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    train(model, [torch.optim.Adam(model.parameters())], lambda: model(IDS) + model(IDS.flip(0)))
    assert observed(tracker) == (96, 3)


def test_a_half_precision_table_is_measured(run: Run) -> None:
    model = Scorer().bfloat16()
    tracker = EmbeddingTracker(model.table, run=run)
    train(model, [torch.optim.Adam(model.parameters())], lambda: model(IDS).float())
    assert observed(tracker) == (48, 3)
    assert tracker.figures().rank is not None


def test_a_closure_optimizers_last_look_ups_are_counted(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(IDS).square().mean()
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
    assert observed(tracker) == (48, 3)


def test_tracing_for_export_is_no_look_up(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    torch.export.export(model, (IDS,))
    train(model, [torch.optim.SGD(model.parameters(), lr=0.1)])
    assert observed(tracker) == (48, 3)


def test_an_empty_batch_and_a_table_of_one_row_do_no_harm(run: Run) -> None:
    table = nn.Embedding(1, 8)
    tracker = EmbeddingTracker(table, run=run)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    for size in [0, *[4] * 20]:
        optimizer.zero_grad()
        table(torch.zeros(size, dtype=torch.long)).square().sum().backward()
        optimizer.step()
    assert tracker.figures().counts.tolist() == [80]
    assert tracker.findings() == []


def test_int32_ids_and_ids_by_keyword_are_counted(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    train(
        model,
        [torch.optim.Adam(model.parameters())],
        lambda: model.head(model.table(input=IDS.int())),
    )
    assert observed(tracker) == (48, 3)


def test_of_two_optimizers_over_one_table_a_step_of_both_is_one_step(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    first = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, [first, torch.optim.Adam(model.table.parameters())])
    assert observed(tracker) == (48, 3)
    assert tracker.figures().optimizer is not None
    assert tracker.figures().optimizer.name == "SGD"


def test_of_two_optimizers_that_take_turns_every_step_counts(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    first, other = (torch.optim.SGD(model.parameters(), lr=lr) for lr in (0.1, 0.01))
    for _ in range(2):
        train(model, [first])
        train(model, [other])
    assert observed(tracker) == (16 * 12, 12)


def test_counters_widen_before_they_overflow_and_a_resumed_run_goes_on(run: Run) -> None:
    model = Scorer()
    tracker = EmbeddingTracker(model.table, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, [optimizer])
    state = tracker.state_dict()
    state["observer"]["exposure"]["counts"][0] = 2**31 - 2
    state["observer"]["exposure"]["total"] = 2**31 + 40
    tracker.load_state_dict(state)
    train(model, [optimizer])
    assert tracker.figures().counts[:2].tolist() == [2**31 + 1, 6]
    assert tracker.figures().gini is not None
    summary = tracker.summary()
    assert summary["exposures"] == 2**31 + 1 + 6 * 15


class Breaks(nn.Module):
    """A score whose gradient may be no number from its end on, or in its table alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.one, self.two = nn.Embedding(40, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.late, self.early = 0.0, False

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.table(ids)
        if self.early:
            # The root's slope at zero is infinite, and infinity times zero is no number.
            rows = rows + (0.0 * rows).sqrt()
        return self.two(torch.relu(self.one(rows))) + self.late


@pytest.mark.parametrize("early", [False, True])
def test_of_a_table_and_layers_the_one_where_gradients_broke_speaks(run: Run, early: bool) -> None:
    torch.manual_seed(0)
    model = Breaks()
    tracker, layers = EmbeddingTracker(model.table, run=run), FlowTracker(model, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, [optimizer])
    model.early, model.late = early, 0.0 if early else float("nan")
    train(model, [optimizer])
    said = {finding.type for finding in tracker.findings()}
    assert tracker.figures().nonfinite_steps == 3
    assert ("NON_FINITE" in said) == early
    origins = [each.origin for each in layers.figures() if each.origin is not None]
    assert len(origins) == 1
    assert tracker.figures().first_nonfinite == 3
    assert origins[0].step == (4 if early else 3)
