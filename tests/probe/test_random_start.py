"""Tables that began with random values: raised where those are in the way, silent where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from advised import ADAM, ADAMW, DIM, Scores, figures, trained
from torch import nn

import gradtracer
from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.training import _is_at
from gradtracer.analyzers.training_figures import TableStart
from gradtracer.diagnoses import missing_regularization
from gradtracer.diagnoses.finding import Finding
from gradtracer.diagnoses.weight_decay import LARGEST
from gradtracer.settings import Settings
from gradtracer.statistics.start_share import StartSample, StartShare


def test_tables_that_unlearn_their_random_start_are_told_of_decay(tmp_path: Path) -> None:
    finding = trained(tmp_path, told=False)["MISSING_REGULARIZATION"]
    assert {each.unit.rpartition(" ")[2] for each in finding.evidence} <= {"user_emb", "item_emb"}
    offer = finding.fixes[0]
    assert offer.fix == "set-weight-decay" and offer.preferred
    # 1,000 steps at lr 1e-2: exp(-3) of the first values is then left.
    assert offer.parameters == {
        "weight_decay": 0.3,
        "measured_decay": 0.0,
        "optimizer": "AdamW",
    }


@pytest.mark.parametrize(
    "setting",
    [
        {"optimizer": "AdamW", "decay": 0.3},
        {"optimizer": "Adam", "decay": 1e-4},
        {"std": 0.1},
    ],
)
def test_no_decay_is_asked_of_a_training_that_has_it_or_began_small(
    tmp_path: Path, setting: dict[str, float]
) -> None:
    found = trained(tmp_path, told=False, **setting)  # type: ignore[arg-type]
    assert "MISSING_REGULARIZATION" not in found


def test_a_table_that_was_trained_before_has_no_random_start(tmp_path: Path) -> None:
    model = Scores(1.0)
    with torch.no_grad():
        for table in (model.user_emb, model.item_emb):
            # What a trained table looks like: a few directions hold most of it.
            table.weight.mul_(torch.linspace(2.0, 0.02, DIM))
    assert trained(tmp_path, told=False, model=model) == {}


def carried(lr: float, steps: int) -> Finding:
    """What is said of a table that carries its first values."""
    adam = ADAM._replace(lr=lr, base_lr=lr)
    share = StartShare(taken_back=0.5, error=0.01, left=0.4, left_error=0.01, rows=500, start=1.0)
    seen = figures(optimizer=adam)._replace(
        step=steps, starts=(TableStart("item_emb", share, adam),)
    )
    found = missing_regularization.examine(seen, Settings())
    assert found is not None
    return found


STILL = StartShare(taken_back=0.04, error=0.003, left=0.6, left_error=0.01, rows=500, start=1.0)


@pytest.mark.parametrize(
    ("share", "optimizer", "ended", "raised"),
    [
        (STILL, ADAM, True, True),
        (STILL, ADAM, False, False),
        (STILL, ADAMW, True, False),
        (STILL._replace(error=0.02), ADAM, True, False),
        (STILL._replace(left_error=0.1), ADAM, True, False),
        (STILL._replace(left=0.4), ADAM, True, False),
        (STILL._replace(left=0.97), ADAM, True, False),
    ],
)
def test_a_table_that_is_still_its_start_asks_for_decay_if_that_is_taken_back(
    share: StartShare, optimizer: OptimizerFacts, ended: bool, raised: bool
) -> None:
    seen = figures(optimizer=optimizer, ended=ended)._replace(
        step=1_000, total_steps=1_000, starts=(TableStart("item_emb", share, optimizer),)
    )
    found = missing_regularization.examine(seen, Settings())
    assert (found is not None) == raised
    if found is not None:
        assert found.evidence[0].statistic == "start_left"
        assert found.evidence[0].interval == pytest.approx((0.6 - 0.02262, 0.6 + 0.02262))
        assert found.fixes[0].parameters["weight_decay"] == 0.3
        assert "still hold 60% (item_emb) of the squared norm" in found.premise


@pytest.mark.parametrize(("start", "advised"), [(1.0, "std=0.1"), (0.1, "std=0.01")])
def test_smaller_first_values_are_a_tenth_of_those_that_there_were(
    start: float, advised: str
) -> None:
    table = TableStart("item_emb", STILL._replace(start=start), ADAM)
    seen = figures(optimizer=ADAM, ended=True)._replace(step=1_000, starts=(table,))
    found = missing_regularization.examine(seen, Settings())
    assert found is not None
    # What reads such a table rescales it: smaller first values did more than decay.
    words = f"First try to begin with smaller ones: nn.init.normal_(table.weight, {advised}). Or"
    assert found.action.startswith(words)


class Normalised(Scores):
    """Rows enter the score at length 1, so that nothing pulls at the length they have."""

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        user = nn.functional.normalize(self.user_emb(users), dim=-1)
        item = nn.functional.normalize(self.item_emb(items), dim=-1)
        return 5.0 * (user * item).sum(-1) - 2.0


@pytest.mark.parametrize(("std", "raised"), [(1.0, True), (0.1, False)])
def test_rows_that_are_read_at_length_one_are_asked_by_what_they_still_are(
    tmp_path: Path, std: float, raised: bool
) -> None:
    torch.manual_seed(0)
    model = Normalised(std)
    found = trained(tmp_path, lr=3e-3, epochs=6, told=False, model=model)
    assert ("MISSING_REGULARIZATION" in found) == raised
    if raised:
        assert found["MISSING_REGULARIZATION"].evidence[0].statistic == "start_left"


class Corrected(Scores):
    """With a layer beside the tables that decay would reach, too."""

    def __init__(self, std: float) -> None:
        super().__init__(std)
        self.level = nn.Linear(1, 1)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return super().forward(users, items) + self.level(torch.ones(1)).squeeze()


def test_where_other_layers_are_trained_a_second_fix_spares_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    finding = trained(tmp_path, told=False, model=Corrected(1.0))["MISSING_REGULARIZATION"]
    first, second = finding.fixes[:2]
    assert (first.fix, second.fix) == ("set-weight-decay", "decay-tables")
    assert first.preferred and not second.preferred
    assert second.parameters == {**first.parameters, "tables": ["user_emb", "item_emb"]}
    assert "Or decay the tables alone" in finding.action


def test_a_table_whose_name_is_no_path_in_the_model_is_in_no_group() -> None:
    share = StartShare(taken_back=0.5, error=0.01, left=0.4, left_error=0.01, rows=500, start=1.0)
    starts = TableStart("users", share, ADAM, True), TableStart("films", share, ADAM)
    seen = figures(optimizer=ADAM)._replace(step=1_000, starts=starts, trains_more=True)
    found = missing_regularization.examine(seen, Settings())
    assert found is not None
    assert [each.parameters.get("tables") for each in found.fixes] == [None, ["users"], None]


def test_a_tracker_of_another_name_is_known_not_to_be_a_path(tmp_path: Path) -> None:
    model = Corrected(1.0)
    run = gradtracer.watch(model, folder=str(tmp_path), publish=False)
    users, items = (each for each in run.trackers if isinstance(each, EmbeddingTracker))
    assert _is_at(model, users.name, users.layer)
    assert not _is_at(model, "films", items.layer)
    assert not _is_at(model, users.name, items.layer)
    assert not _is_at(None, users.name, users.layer)
    run.finish()


def test_a_large_number_is_told_with_what_it_comes_to() -> None:
    found = carried(1e-3, 1_920)
    assert found.fixes[0].parameters["weight_decay"] == 2.0
    assert "at 0.001 a step takes 0.2 % of each weight" in found.action
    assert "AdamW's default of 0.01 would take 1.9 % in 1,920 steps" in found.action
    assert found.expected_effect.startswith("2.1 % of the first values are left after 1,920 steps")


def test_no_decay_is_proposed_that_would_hold_weights_below_what_tables_begin_with() -> None:
    found = carried(1e-4, 2_000)
    assert found.fixes[0].parameters["weight_decay"] == LARGEST
    assert found.expected_effect.startswith("14 % of the first values are left after 2,000 steps")
    # AdamW itself: pulled one way at every step, a weight comes to rest at 1 / decay.
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-2, weight_decay=LARGEST)
    for _ in range(200):
        weight.grad = torch.tensor([-3.0])
        optimizer.step()
    assert weight.item() == pytest.approx(1 / LARGEST, rel=0.01)


def test_where_steps_are_too_small_for_any_decay_none_is_proposed() -> None:
    found = carried(1e-5, 2_000)
    assert [each.fix for each in found.fixes] == ["suppress"]
    assert found.action.startswith("At a learning rate of 1e-5, 2,000 steps are too few for any")


def test_tables_with_sparse_gradients_are_asked_for_no_decay() -> None:
    adam = ADAM._replace(name="SparseAdam", coupled=False)
    table = TableStart("item_emb", STILL, adam, sparse=True)
    seen = figures(optimizer=adam, ended=True)._replace(step=1_000, starts=(table,))
    found = missing_regularization.examine(seen, Settings())
    assert found is not None
    assert [each.fix for each in found.fixes] == ["suppress"]
    assert "begin with smaller ones: nn.init.normal_(table.weight, std=0.1)" in found.action
    assert "AdamW" not in found.action
    # The optimizer that dense tables are told of refuses such gradients.
    weight = nn.Embedding(4, 2, sparse=True)
    weight(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        torch.optim.AdamW(weight.parameters(), weight_decay=0.3).step()


@pytest.mark.parametrize("back", [0.0, 0.3, 0.9])
def test_start_share_is_the_squared_cosine_with_the_first_values(back: float) -> None:
    g = torch.Generator().manual_seed(1)
    start = torch.randn(200, 8, generator=g)
    sample = StartSample(start.clone(), seed=0)
    now = (1 - back) * start + 0.5 * torch.randn(200, 8, generator=g)
    counts = np.arange(200) % 2
    found = sample.read(now, counts)
    assert found is not None and found.rows == 100
    a, b = start[1::2].double().flatten(), now[1::2].double().flatten()
    cosine = float((-a * (b - a)).sum() / (a.norm() * (b - a).norm()))
    assert found.taken_back == pytest.approx(max(0.0, cosine) ** 2, abs=1e-6)
    assert found.left == pytest.approx(float((a @ b) / (a.norm() * b.norm())) ** 2, abs=1e-6)
    low, high = found.interval
    assert low <= found.taken_back <= high and high - low < 0.2
    low, high = found.left_interval
    assert low <= found.left <= high and high - low < 0.3


def test_start_share_says_nothing_where_it_cannot_know() -> None:
    start = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    sample = StartSample(start.clone(), seed=0)
    used = np.ones(200, dtype=np.int64)
    assert sample.read(start, used) is None
    assert sample.read(start * float("nan"), used) is None
    assert sample.read(0.5 * start, used * 0) is None
    zeros = StartSample(torch.zeros(200, 8), seed=0)
    assert zeros.read(start, used) is None
    whole = sample.read(torch.zeros(200, 8), used)
    assert whole is None
    one = StartSample(torch.randn(1, 8), seed=0)
    assert one.read(torch.randn(1, 8), used[:1]) is None


def test_a_large_table_keeps_a_bounded_sample_of_all_its_rows() -> None:
    sample = StartSample(torch.zeros(300_000, 2), seed=0)
    assert len(sample.rows) == 1024
    assert int(sample.rows.max()) < 300_000 and int(sample.rows.max()) > 200_000
