"""Modules in plain lists and dicts are found, and named where their training lacks them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import nn

from gradtracer.callsite import call_site
from gradtracer.run import Run
from gradtracer.unregistered import unregistered
from gradtracer.watching import observe
from gradtracer_schemas import Diagnosis


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(50, 8)
        self.fc = nn.Linear(8, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.fc(self.emb(ids))


class Model(nn.Module):
    """Sums what its towers make of the ids; they are in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = [Tower() for _ in range(2)]
        self.out = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        made = [tower(ids[:, place]) for place, tower in enumerate(self.towers)]
        return self.out(torch.stack(made).sum(0))


def train(run: Run, model: nn.Module, held: Iterable[nn.Parameter]) -> dict[str, Diagnosis]:
    """What STAGNATION says of each layer after 40 steps."""
    torch.manual_seed(0)
    observe(model, run, settings=run.settings, site=call_site())
    optimizer = torch.optim.SGD(held, lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        model(torch.randint(50, (64, 2))).square().mean().backward()
        optimizer.step()
    for tracker in list(run.trackers):
        tracker.publish(final=True)
    said = [each for tracker in run.trackers for each in getattr(tracker, "diagnoses", [])]
    return {each.layer: each for each in said if each.type == "STAGNATION"}


def test_tables_and_layers_in_a_plain_list_are_named_on_the_line_that_builds_them(run: Run):
    model = Model()
    found = train(run, model, model.parameters())
    assert set(found) == {f"towers.{place}.{layer}" for place in (0, 1) for layer in ("emb", "fc")}
    for layer in ("emb", "fc"):
        said = found[f"towers.0.{layer}"]
        assert said.premise.endswith(
            "It is kept in towers, a plain list, into which PyTorch does not look."
        )
        assert "Make towers an nn.ModuleList" in said.action
        assert [each.fix for each in said.fixes] == ["register-modules", "suppress"]
        assert said.fixes[0].parameters == {"holder": "towers"}
        texts = [frame.text for frame in said.site.frames[:2]]
        assert texts[0].startswith(f"self.{layer} = nn.")
        assert texts[1] == "self.towers = [Tower() for _ in range(2)]"


def test_nothing_is_said_where_the_optimizer_was_given_them(run: Run):
    model = Model()
    towers = [weight for tower in model.towers for weight in tower.parameters()]
    assert train(run, model, [*model.parameters(), *towers]) == {}


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_is_said_of_a_teacher_that_is_hidden_on_purpose(run: Run, frozen: bool):
    class Taught(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = [Tower().requires_grad_(not frozen)]
            self.emb = nn.Embedding(50, 8)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            with torch.set_grad_enabled(frozen):
                aim = self.teacher[0](ids[:, 0])
            return self.emb(ids[:, 1]) - aim

    model = Taught()
    assert train(run, model, model.parameters()) == {}


def test_where_no_module_list_takes_what_is_there_the_words_come_without_an_edit(run: Run):
    model = Model()
    model.towers = (*model.towers, None)  # type: ignore[assignment]
    model.forward = lambda ids: model.out(model.towers[0](ids[:, 0]))  # type: ignore[method-assign]
    said = train(run, model, model.parameters())["towers.0.emb"]
    assert "a plain tuple" in said.premise
    assert [each.fix for each in said.fixes] == ["suppress"]
    assert "Keep it in an nn.ModuleList" in said.action


def paths(model: nn.Module) -> dict[str, bool]:
    return {each.path: each.kept_in.registers for each in unregistered(model)}


def test_lists_tuples_dicts_and_lists_of_these_are_looked_into() -> None:
    model = nn.Module()
    model.inner = nn.Module()
    model.inner.tables = {"user": nn.Embedding(3, 2), "item": nn.Embedding(3, 2)}
    model.pair = (nn.Linear(2, 2), nn.Linear(2, 2))
    model.nested = [[nn.Linear(2, 2)], {"deep": nn.Linear(2, 2)}, [[nn.Linear(2, 2)]]]
    model.by_id = {7: nn.Linear(2, 2)}
    model.taken = {"keys": nn.Linear(2, 2)}
    assert paths(model) == {
        "inner.tables.user": True,
        "inner.tables.item": True,
        "pair.0": True,
        "pair.1": True,
        "nested.0.0": False,
        "nested.1.deep": False,
        "by_id.7": False,
        "taken.keys": False,
    }


def test_what_is_registered_too_has_no_weight_of_its_own_or_owns_the_model_is_left() -> None:
    model = nn.Module()
    model.first = nn.Linear(2, 2)
    model.again = [model.first, nn.ReLU()]
    owner = nn.Module()
    owner.model, owner.head = model, nn.Linear(2, 2)
    model.owners = [owner]
    tied = nn.Linear(2, 2)
    tied.weight, tied.bias = model.first.weight, model.first.bias
    model.tied = [tied]
    model.words = ["a"] * 5
    shared = nn.Linear(2, 2)
    model.one, model.other = [shared], [shared]
    assert paths(model) == {"one.0": True}
    assert paths(nn.LSTM(4, 4, num_layers=2)) == {}
