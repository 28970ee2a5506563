"""Steps that are compiled, alone or with forward and backward pass, are observed as plain ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.run import Run
from gradtracer.settings import Settings

BATCH, STEPS = 16, 40
Pass = Callable[[torch.Tensor], torch.Tensor]
Training = Callable[[Pass, torch.optim.Optimizer], Pass]
Compiler = Callable[[Any], Any]


class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids))


def around(step: Callable[[], Any], optimizer: torch.optim.Optimizer, forward: Pass) -> Pass:
    def train_step(ids: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = forward(ids)
        loss.backward()
        step()
        return loss.detach()

    return train_step


def by_step(compiler: Compiler, optimizer: torch.optim.Optimizer, forward: Pass) -> Pass:
    return around(compiler(optimizer.step), optimizer, forward)


def by_function(compiler: Compiler, optimizer: torch.optim.Optimizer, forward: Pass) -> Pass:
    @compiler
    def step() -> None:
        optimizer.step()

    return around(step, optimizer, forward)


def with_passes(compiler: Compiler, optimizer: torch.optim.Optimizer, forward: Pass) -> Pass:
    @compiler
    def train_step(ids: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = forward(ids)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train_step


WAYS = [by_step, by_function, with_passes]


class Seen(NamedTuple):
    weights: list[torch.Tensor]
    counted: tuple[Any, ...] = ()
    measured: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        # PyTorch's own: of the backward pass in a compiled function, and of what it imports.
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        yield


def trained(
    way: Callable[..., Pass], compiler: Compiler, run: Run | None = None, optimizer: str = "Adam"
) -> Seen:
    torch.manual_seed(0)
    model = Scorer()
    trackers: list[Any] = []
    if run is not None:
        settings: dict[str, Any] = {"run": run, "track_interval": 4}
        trackers = [EmbeddingTracker(model.table, **settings), FlowTracker(model, run=run)]
    steps = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01)
    train_step = way(compiler, steps, lambda ids: model(ids).square().mean())
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        train_step(torch.randint(0, 50, (BATCH,), generator=generator))
    weights = [each.detach().clone() for each in model.parameters()]
    if run is None:
        return Seen(weights)
    table, layers = trackers
    figures = table.figures()
    counted = (run.step, table.steps, layers.steps, figures.steps)
    return Seen(weights, (*counted, figures.counts.tolist()), table.summary())


@pytest.fixture
def new_run(tmp_path: Any) -> Iterator[Callable[[], Run]]:
    runs: list[Run] = []

    def begin() -> Run:
        runs.append(Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False)))
        return runs[-1]

    yield begin
    for run in runs:
        run.finish()


def eager(function: Any) -> Any:
    return torch.compile(function, backend="eager")


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize("way", WAYS)
def test_all_is_counted_as_in_a_plain_loop_and_the_weights_are_untouched(
    new_run: Callable[[], Run], way: Callable[..., Pass], optimizer: str
) -> None:
    plain = trained(way, lambda function: function, new_run(), optimizer)
    alone = trained(way, eager, optimizer=optimizer)
    torch.compiler.reset()
    seen = trained(way, eager, new_run(), optimizer)
    assert all(map(torch.equal, seen.weights, alone.weights))
    assert plain.counted[:3] == (STEPS, STEPS, STEPS)
    assert sum(plain.counted[-1]) == STEPS * BATCH
    assert seen.counted == plain.counted
    # Its arithmetic is in another order than the plain loop's.
    assert seen.measured == pytest.approx(plain.measured, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_compiled_that_is_not_compiled_without_it(
    new_run: Callable[[], Run], way: Callable[..., Pass]
) -> None:
    operations: list[int] = []
    for run in (None, new_run()):
        counter = CompileCounter()
        trained(way, lambda function, c=counter: torch.compile(function, backend=c), run)
        operations.append(counter.op_count)
        torch.compiler.reset()
    assert operations[0] == operations[1] > 0


def test_a_step_that_is_watched_once_it_is_compiled_is_heard(new_run: Callable[[], Run]) -> None:
    model = Scorer()
    optimizer = torch.optim.Adam(model.parameters())
    train_step = by_step(eager, optimizer, lambda ids: model(ids).square().mean())
    ids = torch.arange(BATCH)
    train_step(ids)
    run = new_run()
    tracker = EmbeddingTracker(model.table, run=run)
    for _ in range(3):
        train_step(ids)
    assert (run.step, tracker.steps) == (3, 3)
    assert tracker.figures().counts.sum() == 3 * BATCH


def test_a_loss_told_in_a_compiled_step_does_not_compile_it_anew(
    new_run: Callable[[], Run],
) -> None:
    run, model, counter = new_run(), Scorer(), CompileCounter()
    EmbeddingTracker(model.table, run=run)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    @torch.compile(backend=counter)
    def train_step(ids: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(ids).square().mean()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
        return loss.detach() + 1

    graphs: list[int] = []
    for _ in range(12):
        train_step(torch.arange(BATCH))
        graphs.append(counter.frame_count)
    assert graphs[-1] == graphs[2]
    told = run.told["loss"].curve("loss")
    assert told is not None and told.steps.tolist() == list(range(1, 13))


def test_a_module_that_is_built_while_a_step_is_compiled_warns_of_nothing() -> None:
    # Inductor makes the graph of the backward pass into a module while the step runs.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(with_passes, torch.compile)
    assert not [each for each in caught if "_getframe" in str(each.message)]
