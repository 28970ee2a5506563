"""RowAverage: each row's average by its own clock, training untouched, the better table served."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch import nn

from gradtracer import NothingToWatch, RowAverage, SettingsError

ROWS, DIM = 40, 8
SMALL = {"c": 2.0, "floor": 0.2}


def batches(steps: int, size: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(ROWS - 5, (size,), generator=generator) for _ in range(steps)]


def table(**options: object) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(ROWS, DIM, **options)


def train(layer: nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> None:
    optimizer.zero_grad()
    (layer(ids) - 1).square().sum().backward()
    optimizer.step()


class Twin:
    """The definition, row by row."""

    def __init__(self, layer: nn.Embedding, c: float, floor: float) -> None:
        self.layer, self.c, self.floor = layer, c, floor
        self.rows = layer.weight.detach().double().clone()
        self.n = [0] * ROWS

    def after(self, ids: torch.Tensor) -> None:
        for row in set(ids.tolist()):
            self.n[row] += 1
            rho = max(self.floor, self.c / (self.n[row] + self.c))
            self.rows[row] += rho * (self.layer.weight.detach()[row].double() - self.rows[row])


OPTIMIZERS = {
    "SGD": (lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), {}),
    "Adam": (lambda p: torch.optim.Adam(p, lr=0.05), {}),
    "SparseAdam": (lambda p: torch.optim.SparseAdam(list(p), lr=0.05), {"sparse": True}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("as_int32", [False, True])
def test_the_average_is_the_definition_and_training_is_untouched(name: str, as_int32: bool):
    make, options = OPTIMIZERS[name]
    layer, plain = table(**options), table(**options)
    average, twin = RowAverage(layer, **SMALL), Twin(layer, **SMALL)
    optimizer, other = make(layer.parameters()), make(plain.parameters())
    for ids in batches(30):
        ids = ids.int() if as_int32 else ids
        train(layer, optimizer, ids)
        train(plain, other, ids)
        twin.after(ids)
    assert torch.equal(layer.weight, plain.weight)
    seen = torch.tensor(twin.n) > 0
    assert torch.allclose(average.average()[seen].double(), twin.rows[seen], atol=1e-5)
    # What no batch has reached is served as it is.
    assert torch.equal(average.average()[~seen], layer.weight.detach()[~seen])


def test_gradients_gathered_over_two_passes_count_once():
    layer = table()
    average, twin = RowAverage(layer, **SMALL), Twin(layer, **SMALL)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for first, second in zip(batches(20)[::2], batches(20)[1::2], strict=True):
        optimizer.zero_grad()
        for ids in (first, second):
            layer(ids).sum().backward()
        optimizer.step()
        twin.after(torch.cat([first, second]))
    assert torch.allclose(average.average().double(), twin.rows, atol=1e-5)


def test_bags_are_averaged():
    layer = nn.EmbeddingBag(ROWS, DIM, mode="sum")
    average = RowAverage(layer)
    train(layer, torch.optim.SGD(layer.parameters(), lr=0.01), torch.arange(12).reshape(4, 3))
    assert (average.state_dict()["counts"] > 0).tolist() == [i < 12 for i in range(ROWS)]


def test_evaluation_is_not_averaged():
    layer = table()
    average = RowAverage(layer)
    with torch.no_grad():
        layer(torch.tensor([1, 2]))
    layer.eval()
    layer(torch.tensor([3]))
    layer.train()
    train(layer, torch.optim.SGD(layer.parameters(), lr=0.1), torch.tensor([4]))
    assert average.state_dict()["counts"].nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_swapping_puts_the_trained_table_back_to_the_bit(dtype: torch.dtype | None):
    layer = table()
    average = RowAverage(layer, dtype=dtype)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for ids in batches(20):
        train(layer, optimizer, ids)
    trained, served = layer.weight.detach().clone(), average.average()
    assert not torch.equal(trained, served)
    with average.swap():
        assert torch.equal(layer.weight, served)
        layer(torch.tensor([0]))
        assert torch.equal(layer.weight, served)
    assert torch.equal(layer.weight, trained)
    assert torch.equal(average.average(), served)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_training_goes_on_from_the_trained_table(dtype: torch.dtype | None):
    layer, plain = table(), table()
    average = RowAverage(layer, dtype=dtype)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    other = torch.optim.Adam(plain.parameters(), lr=0.05)
    for ids in batches(20):
        train(layer, optimizer, ids)
        train(plain, other, ids)
        average.swap()
        with torch.no_grad():
            layer(ids)
        assert not torch.equal(layer.weight, plain.weight)
    average.restore()
    assert torch.equal(layer.weight, plain.weight)


def prefer(layer: nn.Embedding, goal: torch.Tensor) -> float:
    return -float((layer.weight.detach() - goal).square().mean())


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("wanted", ["trained", "averaged"])
def test_the_better_table_is_served(wanted: str, maximize: bool):
    layer = table()
    average = RowAverage(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.4)
    for ids in batches(20):
        train(layer, optimizer, ids)
    tables = {"trained": layer.weight.detach().clone(), "averaged": average.average()}
    sign = 1 if maximize else -1
    choice = average.better(lambda: sign * prefer(layer, tables[wanted]), maximize=maximize)
    assert choice.serves == wanted
    assert torch.equal(layer.weight, tables[wanted])
    gain = choice.averaged - choice.trained
    assert (gain * sign > 0) == (wanted == "averaged")


@pytest.mark.parametrize("worthless", [math.nan, math.inf, 1.0])
def test_an_average_whose_metric_is_no_better_or_no_number_is_not_served(worthless: float):
    layer = table()
    average = RowAverage(layer)
    train(layer, torch.optim.SGD(layer.parameters(), lr=0.4), torch.arange(10))
    trained, values = layer.weight.detach().clone(), iter([1.0, worthless])
    assert average.better(lambda: next(values)).serves == "trained"
    assert torch.equal(layer.weight, trained)


def test_an_evaluation_that_fails_leaves_the_trained_table():
    layer = table()
    average = RowAverage(layer)
    train(layer, torch.optim.SGD(layer.parameters(), lr=0.4), torch.arange(10))
    trained, calls = layer.weight.detach().clone(), iter([1.0])
    with pytest.raises(StopIteration):
        average.better(lambda: next(calls))
    assert torch.equal(layer.weight, trained)


def test_an_evaluation_in_training_mode_still_compares_two_tables():
    layer = table()
    average = RowAverage(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.4)
    for ids in batches(20):
        train(layer, optimizer, ids)
    choice = average.better(lambda: float(layer(torch.arange(ROWS)).square().mean().detach()))
    assert choice.trained != choice.averaged


def test_half_the_memory_in_bfloat16_without_losing_small_steps():
    layer = table()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    whole, half = RowAverage(layer, c=1), RowAverage(layer, c=1, dtype=torch.bfloat16)
    assert whole.memory == ROWS * DIM * 4 + ROWS * 4
    assert half.memory == ROWS * DIM * 2 + ROWS * 4
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(900):
        optimizer.zero_grad()
        layer(torch.arange(ROWS)).mul(0).sum().backward()
        optimizer.step()
    with torch.no_grad():
        # 1 % at a rho of .005 is far below a unit of bfloat16: rounding to nearest stands still.
        layer.weight.mul_(1.01)
    nearest = torch.tensor(1.0, dtype=torch.bfloat16)
    for _ in range(300):
        optimizer.zero_grad()
        layer(torch.arange(ROWS)).mul(0).sum().backward()
        optimizer.step()
        nearest.lerp_(torch.tensor(1.01, dtype=torch.bfloat16), torch.tensor(0.005).bfloat16())
    assert nearest == 1
    grown = float(whole.average().mean()) - 1
    assert grown == pytest.approx(0.01 * (1 - 0.995**300), rel=0.02)
    # 320 entries, each rounded by less than a 128th: five standard errors.
    assert float(half.average().mean()) - 1 == pytest.approx(grown, abs=5 / 128 / 320**0.5)


def test_the_rounding_draws_from_no_generator_of_the_training():
    layer = table()
    average = RowAverage(layer, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.4)
    before = torch.random.get_rng_state()
    train(layer, optimizer, torch.arange(10))
    assert average.averaging
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_resumed_average_goes_on_where_it_was():
    layer = table()
    average = RowAverage(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.4)
    steps = batches(20)
    for ids in steps[:10]:
        train(layer, optimizer, ids)
    saved = io.BytesIO()
    torch.save({"layer": layer.state_dict(), "average": average.state_dict()}, saved)
    for ids in steps[10:]:
        train(layer, optimizer, ids)
    saved.seek(0)
    state = torch.load(saved)
    again = table()
    again.load_state_dict(state["layer"])
    resumed = RowAverage(again)
    resumed.load_state_dict(state["average"])
    optimizer = torch.optim.SGD(again.parameters(), lr=0.4)
    for ids in steps[10:]:
        train(again, optimizer, ids)
    assert torch.equal(resumed.average(), average.average())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_saving_does_not_care_which_table_is_in_the_layer(dtype: torch.dtype | None):
    layer = table()
    average = RowAverage(layer, dtype=dtype)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.4)
    for ids in batches(20):
        train(layer, optimizer, ids)
    trained, before = layer.weight.detach().clone(), average.state_dict()
    served = average.swap().average()
    after = average.state_dict()
    assert torch.equal(layer.weight, served)
    seen = before["counts"] > 0
    assert torch.equal(before["averages"][seen], after["averages"][seen])
    average.load_state_dict(after)
    assert torch.equal(layer.weight, trained)
    assert torch.equal(average.average(), served)


@pytest.mark.parametrize("state", [{}, None, {"averages": torch.zeros(3, DIM), "counts": 0}])
def test_a_state_of_something_else_is_refused(state: object):
    with pytest.raises(ValueError, match="expected"):
        RowAverage(table()).load_state_dict(state)  # type: ignore[arg-type]


def test_a_copied_or_saved_model_carries_no_average():
    layer = table()
    average = RowAverage(layer)
    train(layer, torch.optim.SGD(layer.parameters(), lr=0.4), torch.arange(10))
    average.swap()
    twin = copy.deepcopy(layer)
    saved = io.BytesIO()
    torch.save(layer, saved)
    assert saved.tell() < 2 * ROWS * DIM * 4 + 8_000
    twin(torch.tensor([1]))
    assert torch.equal(layer.weight, twin.weight)
    train(twin, torch.optim.SGD(twin.parameters(), lr=0.4), torch.arange(20, 30))
    assert average.state_dict()["counts"].sum() == 10


def test_a_table_of_another_shape_ends_the_averaging_and_not_the_training(caplog):
    layer = table()
    average = RowAverage(layer)
    layer.weight = nn.Parameter(torch.zeros(ROWS + 1, DIM))
    for _ in range(2):
        train(layer, torch.optim.SGD(layer.parameters(), lr=0.4), torch.tensor([ROWS]))
    assert not average.averaging
    assert caplog.text.count("averaging ends") == 1


def test_detached_it_stops_and_still_serves():
    layer = table()
    average = RowAverage(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.4)
    train(layer, optimizer, torch.arange(10))
    average.detach()
    average.detach()
    train(layer, optimizer, torch.arange(20))
    assert average.better(lambda: float(average.state_dict()["counts"].sum())).serves == "trained"
    assert average.state_dict()["counts"].sum() == 10


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"c": 0}, "c above 0"), ({"floor": 1.5}, "floor"), ({"dtype": torch.int8}, "bfloat16")],
)
def test_wrong_arguments_say_what_to_pass(arguments: dict[str, object], error: str):
    with pytest.raises(SettingsError, match=error):
        RowAverage(table(), **arguments)  # type: ignore[arg-type]


def test_a_layer_that_is_no_table_is_refused():
    with pytest.raises(NothingToWatch, match=r"RowAverage\(model\.item_emb\)"):
        RowAverage(nn.Linear(2, 2))  # type: ignore[arg-type]
