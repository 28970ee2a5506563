"""The validation runs: its arms are paired, it resumes, and it applies what is proposed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import movielens
import validate_autofix
from gradtracer_schemas import Diagnosis, Evidence, FixOffer, SourceSite
from validation import films
from validation.arms import ARMS, GROUPS
from validation.models import MODELS
from validation.plans import TUNED, Plan
from validation.proposals import proposed
from validation.results import Results
from validation.search import GRIDS, Grid, search
from validation.training import K, ndcg, train
from validation.watchers import TableAverages, Watched, holding, interventions

SCRIPT = Path(movielens.__file__).with_name("validate_autofix.py")
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

    class Losses:
        def __init__(self, *_: Any) -> None:
            pass

        def stepped(self) -> None:
            pass

        def epoch_ended(self, loss: float, ndcg: float) -> None:
            losses.append(loss)

    train(replace(SHORT, model=model, epochs=8), TINY, 0, watch=Losses)
    assert len(losses) == 8
    assert losses[-1] < 0.98 * losses[0]


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


def diagnosis(kind: str, confidence: float, *fixes: FixOffer) -> Diagnosis:
    return Diagnosis(
        id=f"{kind}:item_emb@run",
        type=kind,
        layer="item_emb",
        severity="warning",
        confidence=confidence,
        premise="p",
        implies="i",
        action="a",
        expected_effect="e",
        evidence=[
            Evidence(statistic="x", value=1, threshold=0, comparison="above", n=9, p_value=0.01)
        ],
        site=SourceSite(),
        fixes=list(fixes),
    )


def rate(lr: float, **more: Any) -> FixOffer:
    return FixOffer(fix="reduce-learning-rate", parameters={"lr": lr, **more}, preferred=True)


def test_preferred_training_edits_are_applied_the_surer_first() -> None:
    plan, told = proposed(
        replace(SHORT, weight_decay=0.1),
        [
            diagnosis("EXPLODING_UPDATES", 0.96, rate(5e-3)),
            diagnosis("ZOMBIE_EMBEDDINGS", 0.99, rate(2e-3)),
            diagnosis(
                "REPRESENTATION_COLLAPSE",
                0.97,
                FixOffer(
                    fix="reduce-weight-decay", parameters={"weight_decay": 0.01}, preferred=True
                ),
            ),
        ],
    )
    assert (plan.lr, plan.weight_decay) == (2e-3, 0.01)
    assert told == [
        "ZOMBIE_EMBEDDINGS of item_emb: lr=0.002",
        "REPRESENTATION_COLLAPSE of item_emb: weight_decay=0.01",
    ]


@pytest.mark.parametrize(
    "offer",
    [
        FixOffer(fix="reduce-learning-rate", parameters={"lr": 1e-3}),
        FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 8}, preferred=True),
        rate(1e-3, parameters="fc"),
        rate(1e-2),
    ],
    ids=["not preferred", "no training edit", "one layer alone", "as it is"],
)
def test_other_offers_leave_the_plan_alone(offer: FixOffer) -> None:
    assert proposed(SHORT, [diagnosis("EXPLODING_UPDATES", 0.99, offer)]) == (SHORT, [])


def test_what_a_journal_says_of_a_training_is_read_back() -> None:
    watched: list[Watched] = []

    def watch(*arguments: Any) -> Watched:
        watched.append(Watched(*arguments, auto_fix=True))
        return watched[0]

    train(SHORT, TINY, 0, watch=watch)
    events = watched[0].finish()
    assert {each.type for each in holding(events)} >= {"ZOMBIE_EMBEDDINGS"}
    assert interventions(events)["rows"] >= 1
    assert interventions([]) == {"acted": 0, "stopped": 0, "rows": 0, "scale": 1.0}


def test_the_gate_serves_what_validation_prefers() -> None:
    group = GROUPS["off", "average", "average, gated"]
    for seed in range(4):
        found = group(SHORT, TINY, seed)
        best = max(found["off"]["validation"], found["average"]["validation"])
        assert found["average, gated"]["validation"] == best
        served = found["average, gated"]["notes"]["served"]
        assert found["average, gated"]["ranks"] == found["average" if served else "off"]["ranks"]


def test_results_of_another_plan_or_other_data_are_not_taken(tmp_path: Path) -> None:
    key = ("mf-bce", "tuned", "off", 100)
    Results(tmp_path).add(key, SHORT, "here", {"ranks": [1]})
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"model": "mf-bce", "setting"')
    again = Results(tmp_path)
    again.add(("mf-bpr", *key[1:]), SHORT, "here", {"ranks": [2]})
    last = Results(tmp_path)
    assert last.get(key, SHORT, "here")["ranks"] == [1]
    assert last.get(("mf-bpr", *key[1:]), SHORT, "here")["ranks"] == [2]
    assert last.get(key, replace(SHORT, lr=1e-3), "here") is None
    assert last.get(key, SHORT, "there") is None


@pytest.fixture
def validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run it in this process; what it printed."""

    def run(*arguments: str, folder: Path = tmp_path) -> str:
        validate_autofix.main(["--quick", "--cache", str(folder), *arguments])
        return capsys.readouterr().out

    return run


def test_it_runs_to_the_table_and_goes_on_where_it_was_stopped(
    tmp_path: Path, validate: Callable[..., str]
) -> None:
    only = ["--only", "mf-bpr/adam 1e-2/[!o]*"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--cache", str(tmp_path), *only],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{3 * len(GROUPS)} trainings to do" in done.stdout
    kept = (tmp_path / "results.jsonl").read_bytes().rstrip()
    # Killed in the middle of a line.
    (tmp_path / "results.jsonl").write_bytes(kept[:-40])
    assert "\n1 trainings to do" in validate(*only)
    told = validate(*only, "--report")
    assert "trainings to do" not in told
    assert told.partition("| model")[2] == done.stdout.partition("| model")[2]
    table = json.loads((tmp_path / "table.json").read_text())
    assert {each["arm"] for each in table["comparisons"]} == set(ARMS) - {"off", "original"}
    assert all(each["ndcg"]["seeds"] == 3 for each in table["comparisons"])
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    assert "| mf-bpr | adam 1e-2 | auto_fix | 3 |" in (tmp_path / "table.md").read_text()


def test_processes_side_by_side_find_the_same(tmp_path: Path, validate: Callable[..., str]) -> None:
    only = ["--only", "mf-bce/adam 1e-2/average*"]
    one = validate(*only, folder=tmp_path / "one")
    two = validate(*only, "--jobs", "2", "--plot", "png", folder=tmp_path / "two")
    assert one.partition("| model")[1:] == two.partition("| model")[1:]
    assert (tmp_path / "two" / "plot.png").stat().st_size > 1_000


def test_a_failed_training_is_said_and_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, validate: Callable[..., str]
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the original cannot be had: no network")

    monkeypatch.setattr(validate_autofix, "original", fail)
    only = ["--only", "mf-bce/adam 1e-2/original", "--only", "mf-bce/adam 1e-2/off"]
    told = validate(*only)
    assert "no network" in told
    assert "nothing to compare" in told


def test_a_baseline_that_nobody_tuned_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tmp_path / "tuned.json"
    chosen = {"lr": 1e-2, "weight_decay": 0.1, "epochs": 9, "patience": 1}
    tuned.write_text(json.dumps({"chosen": {"mf-bce AdamW": chosen}}))
    monkeypatch.setattr("validation.plans.TUNED", tuned)
    plans = validate_autofix.planned(["mf-bce/tuned/*", "mf-bce/lr x 4/*", "mf-bpr/tuned/off"])
    assert plans["mf-bce", "tuned"] == Plan("mf-bce", "AdamW", **chosen)
    assert plans["mf-bce", "lr x 4"].lr == 4e-2
    assert capsys.readouterr().out == (
        "left out: mf-bpr, tuned: not tuned: python examples/validate_autofix.py --search "
        '"mf-bpr AdamW"\n'
    )


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
