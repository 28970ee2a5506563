"""The trainings of the validation: one seed is one training, whatever is beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from validation import films
from validation.models import MODELS
from validation.plans import TUNED, Plan
from validation.search import GRIDS, Grid, search
from validation.training import K, ndcg, train
from validation.watchers import TableAverages, Watched

TINY = films.tiny()
SHORT = Plan("mf-bce", "Adam", 1e-2, 0.0, epochs=2, patience=0, dim=8, batch=128)


def ranks(plan: Plan, seed: int = 0, **more: Any) -> list[int]:
    return train(plan, TINY, seed, **more).trained.ranks


@pytest.mark.parametrize("model", MODELS)
def test_one_seed_gives_one_training_watched_or_averaged_or_neither(model: str) -> None:
    plan = replace(SHORT, model=model)
    watched: list[Watched] = []

    def watch(*arguments: Any) -> Watched:
        watched.append(Watched(*arguments))
        return watched[0]

    alone = ranks(plan)
    assert ranks(plan, average=TableAverages) == alone
    assert ranks(plan, watch=watch) == alone
    watched[0].finish()


@pytest.mark.parametrize("model", MODELS)
def test_another_seed_gives_another_training(model: str) -> None:
    plan = replace(SHORT, model=model)
    assert ranks(plan, 0) != ranks(plan, 1)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns(model: str) -> None:
    losses: list[float] = []
    epochs: list[float] = []

    class Losses:
        def __init__(self, *_: Any) -> None:
            pass

        def stepped(self, loss: torch.Tensor) -> None:
            losses.append(loss.item())

        def epoch_ended(self, ndcg: float) -> None:
            epochs.append(ndcg)

    train(replace(SHORT, model=model, epochs=8), TINY, 0, watch=Losses)
    assert len(epochs) == 8
    first, *_, last = torch.tensor(losses).tensor_split(8)
    assert last.mean() < 0.98 * first.mean()


def test_patience_keeps_the_best_epoch_and_stops_after_it() -> None:
    plan = replace(SHORT, epochs=40, patience=3, lr=3e-2)
    kept = train(plan, TINY, 0).trained
    assert kept.epoch < 37
    assert ranks(replace(plan, epochs=kept.epoch, patience=0)) == kept.ranks


def test_noise_replaces_its_share_and_never_by_what_is_held_out() -> None:
    noisy = TINY.with_noise(0.2, torch.Generator().manual_seed(3))
    changed = (noisy.train != TINY.train).any(dim=1)
    assert 0.15 < changed.float().mean() <= 0.2
    assert torch.equal(noisy.train[:, 0], TINY.train[:, 0])
    held_out = {*zip(TINY.users.tolist(), TINY.validation.tolist(), strict=True)}
    held_out |= {*zip(TINY.users.tolist(), TINY.test.tolist(), strict=True)}
    assert not held_out & {tuple(pair) for pair in noisy.train[changed].tolist()}


def test_ranks_agree_with_a_slow_count() -> None:
    plan = replace(SHORT, epochs=1)
    kept = train(plan, TINY, 0).trained
    torch.manual_seed(0)
    model = MODELS["mf-bce"](TINY, plan)
    g = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    for batch in model.batches(g):
        optimizer.zero_grad()
        model.loss(batch, g).backward()
        optimizer.step()
    with torch.no_grad():
        scores = model.score_all()
    slow = []
    for user, item in zip(TINY.users.tolist(), TINY.test.tolist(), strict=True):
        met = set(TINY.train[TINY.train[:, 0] == user, 1].tolist())
        others = (i for i in range(1, TINY.num_items) if i not in met and i != item)
        slow.append(min(K, sum(bool(scores[user, i] >= scores[user, item]) for i in others)))
    assert kept.ranks == slow
    assert 0 < ndcg(torch.tensor(slow)) < 1


def test_a_recorded_search_chose_the_best_of_its_grid() -> None:
    recorded = json.loads(TUNED.read_text())
    assert recorded["chosen"].keys() == recorded["searched"].keys() <= GRIDS.keys()
    for name, tried in recorded["searched"].items():
        best = max(tried, key=lambda row: sum(row["validation"]))
        assert recorded["chosen"][name]["lr"] == best["lr"]
        assert recorded["chosen"][name]["weight_decay"] == best["weight_decay"]
        assert len(tried) == len(GRIDS[name].lr) * len(GRIDS[name].weight_decay)


def test_a_search_keeps_what_it_does_not_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tmp_path / "tuned.json"
    tuned.write_text(json.dumps({"searched": {"other": []}, "chosen": {"other": {}}}))
    monkeypatch.setattr("validation.search.TUNED", tuned)
    monkeypatch.setitem(GRIDS, "mf-bce Adagrad", Grid((1e-6, 0.3), (0.0,), 2, 0))
    search(TINY, ["mf-bce Adagrad"])
    found = json.loads(tuned.read_text())
    assert found["chosen"].keys() == {"other", "mf-bce Adagrad"}
    assert len(found["searched"]["mf-bce Adagrad"]) == 2
