"""The realised update has the stated size under every optimizer; all else stays as it is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from gradtracer.auto_fix.hook import RowScaler, way_of

ROWS, DIM = 20, 4
CHOSEN = {3: 64, 7: 128, 15: 25}
"""Levels of some rows; 15 is in no batch."""

Make = Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, tuple[Make, bool]] = {
    "SGD": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), False),
    "SGD sparse": (lambda p: torch.optim.SGD(p, lr=0.1), True),
    "Adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01), False),
    "AdamW": (lambda p: torch.optim.AdamW(p, lr=0.01), False),
    "Adagrad": (lambda p: torch.optim.Adagrad(p, lr=0.1), False),
    "Adagrad sparse": (lambda p: torch.optim.Adagrad(p, lr=0.1), True),
    "RMSprop": (lambda p: torch.optim.RMSprop(p, lr=0.01), False),
    "SparseAdam": (lambda p: torch.optim.SparseAdam(list(p), lr=0.01), True),
}


def levels(chosen: dict[int, int]) -> torch.Tensor:
    found = torch.full((ROWS,), 255, dtype=torch.uint8)
    for row, level in chosen.items():
        found[row] = level
    return found


def backward(table: nn.Embedding, ids: torch.Tensor) -> None:
    (table(ids) - 1).square().sum().backward()


def step(
    table: nn.Embedding, optimizer: torch.optim.Optimizer, scaler: RowScaler, ids: torch.Tensor
) -> torch.Tensor:
    before = table.weight.detach().clone()
    optimizer.zero_grad()
    backward(table, ids)
    scaled = way_of(optimizer).scales
    assert scaled != "nothing"
    scaler.before_step(table.weight, scaled)
    optimizer.step()
    scaler.after_step(table.weight)
    return table.weight.detach() - before


def twins(make: Make, *, sparse: bool) -> list[tuple[nn.Embedding, torch.optim.Optimizer]]:
    tables: list[nn.Embedding] = []
    for _ in range(2):
        torch.manual_seed(0)
        tables.append(nn.Embedding(ROWS, DIM, sparse=sparse))
    return [(table, make(table.parameters())) for table in tables]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # Adagrad's own
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_realised_update_has_the_stated_size(name: str, many: bool):
    make, sparse = OPTIMIZERS[name]
    (table, optimizer), (plain, other) = twins(make, sparse=sparse)
    scaler = RowScaler()
    ids = torch.tensor([0, 3, 3, 7, 9, 1])
    for _ in range(5):
        step(table, optimizer, scaler, torch.arange(ROWS))
        step(plain, other, RowScaler(), torch.arange(ROWS))
    chosen = CHOSEN | {row: 77 for row in range(8, ROWS) if many}
    scaler.scale(levels(chosen))
    scaled, whole = step(table, optimizer, scaler, ids), step(plain, other, RowScaler(), ids)
    rows = torch.tensor(sorted(chosen))
    factors = levels(chosen)[rows].float().unsqueeze(1) / 255
    assert torch.allclose(scaled[rows], factors * whole[rows], rtol=1e-3, atol=1e-7)
    rest = torch.tensor([row for row in range(ROWS) if row not in chosen])
    assert torch.equal(table.weight[rest], plain.weight[rest])
    assert (whole[3] != 0).all()


def test_a_scaled_gradient_does_nothing_under_adam():
    """Why updates are scaled: the check above would not pass so."""
    make, _ = OPTIMIZERS["Adam"]
    (table, optimizer), (plain, other) = twins(make, sparse=False)
    moved: list[torch.Tensor] = []
    for layer, opt, factor in ((table, optimizer, 0.1), (plain, other, 1.0)):
        before = layer.weight.detach().clone()
        backward(layer, torch.arange(ROWS))
        layer.weight.grad.mul_(factor)
        opt.step()
        moved.append(layer.weight.detach() - before)
    assert torch.allclose(moved[0], moved[1], rtol=0.02)


def test_gradients_gathered_over_passes_are_one_update():
    make, _ = OPTIMIZERS["SGD"]
    (table, optimizer), (plain, other) = twins(make, sparse=False)
    scaler = RowScaler()
    scaler.scale(levels(CHOSEN))
    start = table.weight.detach().clone()
    for layer, opt, its in ((table, optimizer, scaler), (plain, other, RowScaler())):
        for ids in (torch.tensor([3, 7]), torch.tensor([3, 0])):
            backward(layer, ids)
        its.before_step(layer.weight, "update")
        opt.step()
        its.after_step(layer.weight)
    ratio = (table.weight - start)[3] / (plain.weight - start)[3]
    assert torch.allclose(ratio, torch.tensor(64 / 255), rtol=1e-3)


def test_a_step_that_mixed_precision_skips_changes_nothing():
    table = nn.Embedding(ROWS, DIM)
    optimizer = torch.optim.Adam(table.parameters(), lr=0.1)
    scaler, loss_scaler = RowScaler(), torch.amp.GradScaler("cpu")
    scaler.scale(levels(CHOSEN))
    told: list[str] = []

    def before(*_: object) -> None:
        told.append("before")
        scaler.before_step(table.weight, "update")

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(lambda *_: scaler.after_step(table.weight))
    start = table.weight.detach().clone()
    loss_scaler.scale((table(torch.arange(ROWS)) * float("inf")).sum()).backward()
    loss_scaler.step(optimizer)
    loss_scaler.update()
    assert torch.equal(table.weight, start)
    assert told == []
    optimizer.zero_grad()
    loss_scaler.scale((table(torch.arange(ROWS)) - 1).square().sum()).backward()
    loss_scaler.step(optimizer)
    moved = (table.weight.detach() - start).abs()
    assert told == ["before"]
    assert torch.allclose(moved[3], torch.tensor(0.1 * 64 / 255), rtol=1e-3)
    assert torch.allclose(moved[0], torch.tensor(0.1), rtol=1e-3)


class Own(torch.optim.Optimizer):
    """Plain gradient descent that keeps weights of its own, as optimizers of mixed precision do."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        super().__init__(parameters, {})
        self._own = [each.detach().clone() for each in self.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for own, each in zip(self._own, self.param_groups[0]["params"], strict=True):
            own.add_(each.grad, alpha=-0.1)
            each.copy_(own)


@pytest.mark.parametrize("sparse", [False, True])
def test_an_unknown_optimizer_is_explained_and_gets_scaled_gradients(sparse: bool):
    (table, optimizer), (plain, other) = twins(Own, sparse=sparse)
    way = way_of(optimizer)
    assert way.scales == "gradient"
    assert "Own is no optimizer of torch.optim" in way.reason
    scaler = RowScaler()
    scaler.scale(levels(CHOSEN))
    for _ in range(2):
        scaled = step(table, optimizer, scaler, torch.arange(10))
        whole = step(plain, other, RowScaler(), torch.arange(10))
        assert torch.allclose(scaled[0], whole[0])
    start = torch.zeros(0)
    torch.manual_seed(0)
    start = nn.Embedding(ROWS, DIM).weight.detach()
    first = -0.2 * (start - 1)[3] * 64 / 255
    assert torch.allclose(table.weight[3] - start[3], first * (2 - 0.2 * 64 / 255), rtol=1e-3)


@pytest.mark.parametrize("scales", ["update", "gradient"])
def test_a_gradient_that_others_share_is_not_written(scales: str):
    table = nn.Embedding(ROWS, DIM)
    make = Own if scales == "gradient" else OPTIMIZERS["SGD"][0]
    optimizer = make(table.parameters())
    scaler = RowScaler()
    scaler.scale(levels(CHOSEN))
    table.weight.grad = shared = torch.ones(ROWS, DIM)
    assert way_of(optimizer).scales == scales
    scaler.before_step(table.weight, way_of(optimizer).scales)  # type: ignore[arg-type]
    optimizer.step()
    scaler.after_step(table.weight)
    assert torch.equal(shared, torch.ones(ROWS, DIM))
    assert table.weight.grad is shared


def test_an_optimizer_derived_from_a_known_one_is_known():
    class Mine(torch.optim.AdamW):
        pass

    assert way_of(Mine([torch.zeros(1, requires_grad=True)])).scales == "update"


def test_low_precision_tables_are_scaled_within_their_precision():
    (table, optimizer), (plain, other) = twins(OPTIMIZERS["SGD sparse"][0], sparse=True)
    for layer in (table, plain):
        layer.to(torch.bfloat16)
        torch.nn.init.zeros_(layer.weight)
    scaler = RowScaler()
    scaler.scale(levels({3: 64}))
    ids = torch.arange(ROWS)
    scaled, whole = step(table, optimizer, scaler, ids), step(plain, other, RowScaler(), ids)
    assert torch.allclose(scaled[3], whole[3] * 64 / 255, rtol=2**-7)
    assert torch.equal(scaled[4], whole[4])


@pytest.mark.parametrize("grad", [None, "another shape"])
def test_without_a_gradient_or_after_a_resize_nothing_happens(grad: str | None):
    table = nn.Embedding(ROWS if grad is None else ROWS + 1, DIM)
    scaler = RowScaler()
    scaler.scale(levels(CHOSEN))
    if grad is not None:
        backward(table, torch.arange(3))
    start = table.weight.detach().clone()
    scaler.before_step(table.weight, "update")
    with torch.no_grad():
        table.weight.add_(1)
    scaler.after_step(table.weight)
    assert torch.equal(table.weight, start + 1)


def test_nothing_of_a_step_is_kept_after_it():
    table = nn.Embedding(ROWS, DIM)
    scaler = RowScaler()
    scaler.scale(levels(CHOSEN))
    backward(table, torch.arange(10))
    scaler.before_step(table.weight, "update")
    copies = [weakref.ref(scaler._before.weight)]
    scaler.after_step(table.weight)
    assert [ref() for ref in copies] == [None]
