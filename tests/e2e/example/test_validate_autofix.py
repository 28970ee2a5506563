"""The validation as a script: arms, results that are kept, and the way to the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import movielens
import validate_autofix
from gradtracer.auto_fix import intervene
from gradtracer.auto_fix.gate import LossGate, Verdict
from gradtracer.settings import Settings
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisCleared,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisUpdatedEvent,
    Evidence,
    FixOffer,
    Intervention,
    InterventionEvent,
    SourceSite,
)
from patience import PATIENCE
from validation import films
from validation.agenda import ASKED, Agenda, Seeds, planned
from validation.arms import ALL_ROWS, TRAINED, train_arms
from validation.models import MODELS
from validation.plans import Plan
from validation.proposals import proposed
from validation.results import Results
from validation.training import train
from validation.watchers import TableAverages, Watched, holding, interventions

SCRIPT = Path(movielens.__file__).with_name("validate_autofix.py")
TINY = films.tiny()
SHORT = Plan("mf-bce", "Adam", 1e-2, 0.0, epochs=2, patience=0, dim=8, batch=128)


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


def test_decay_and_length_are_applied_together() -> None:
    decay = {"weight_decay": 0.2, "measured_decay": 0.0, "optimizer": "AdamW"}
    plan, told = proposed(
        SHORT,
        [
            diagnosis(
                "MISSING_REGULARIZATION",
                0.99,
                FixOffer(fix="set-weight-decay", parameters=decay, preferred=True),
            ),
            diagnosis(
                "UNDERTRAINED",
                0.96,
                FixOffer(fix="train-longer", parameters={"factor": 2}, preferred=True),
            ),
        ],
    )
    assert plan == replace(SHORT, optimizer="AdamW", weight_decay=0.2, epochs=4)
    assert len(told) == 2


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


def event(kind: type[Any], body: Any, seq: int) -> Any:
    return kind(protocol="1", run="r", rank=0, seq=seq, step=seq, time=0.0, body=body)


def test_what_holds_at_the_end_was_raised_and_not_cleared() -> None:
    one, two = diagnosis("STAGNATION", 0.9), diagnosis("UNDERTRAINED", 0.9)
    surer = diagnosis("UNDERTRAINED", 0.95)
    events = [
        event(DiagnosisRaisedEvent, one, 0),
        event(DiagnosisRaisedEvent, two, 1),
        event(DiagnosisClearedEvent, DiagnosisCleared(id=one.id, reason="r"), 2),
        event(DiagnosisUpdatedEvent, surer, 3),
    ]
    assert holding(events) == [surer]
    assert holding(events[:2]) == [one, two]


def intervention(layer: str, action: str, seq: int, reason: str = "r") -> Any:
    acts = action == "shrink-updates"
    body = Intervention(
        layer=layer,
        action=action,
        rows=7 if acts else 0,
        held_out=2,
        holdout=0.2,
        seed=0,
        mean_scale=0.4 if acts else 1.0,
        reason=reason,
    )
    return event(InterventionEvent, body, seq)


def test_interventions_are_counted_and_their_states_share_the_steps() -> None:
    told = [
        intervention("items", "wait", 50, "names 3 rows; the loss is improving (posterior 0.97)"),
        intervention("users", "wait", 20, "names 1 rows; too few losses so far"),
        intervention("items", "shrink-updates", 60),
        intervention("items", "stop", 90),
        event(DiagnosisClearedEvent, DiagnosisCleared(id="i", reason="r"), 100),
    ]
    found = interventions(told, tables=4)
    states = found.pop("states")
    assert found == {"acted": 1, "stopped": 1, "rows": 7, "scale": 0.4}
    assert states == {
        "no row named yet": 0.675,
        "the loss is improving": 0.025,
        "too few losses": 0.2,
        "acts": 0.075,
        "stopped": 0.025,
    }
    idle = interventions(told[-1:], tables=2)
    assert idle == {
        "acted": 0,
        "stopped": 0,
        "rows": 0,
        "scale": 1.0,
        "states": {"no row named yet": 1.0},
    }


def test_a_part_of_the_probe_that_failed_ends_the_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[Watched] = []

    def watch(*arguments: Any) -> Watched:
        watched.append(Watched(*arguments))
        return watched[0]

    def fail(*_: Any) -> None:
        raise ValueError("planted")

    monkeypatch.setattr("gradtracer.analyzers.table_observer.TableObserver.before_step", fail)
    train(SHORT, TINY, 0, watch=watch)
    with pytest.raises(RuntimeError, match="following the gradient"):
        watched[0].finish()


def test_the_gate_serves_what_validation_prefers() -> None:
    for seed in range(4):
        found = train_arms(SHORT, TINY, seed, ["average, gated"])
        best = max(found["off"]["validation"], found["average"]["validation"])
        assert found["average, gated"]["validation"] == best
        served = found["average, gated"]["notes"]["served"]
        assert found["average, gated"]["ranks"] == found["average" if served else "off"]["ranks"]


@pytest.mark.parametrize("model", MODELS)
def test_a_training_that_auto_fix_left_alone_is_its_own_baseline(model: str) -> None:
    plan = replace(SHORT, model=model)
    found = train_arms(plan, TINY, 0, ["off", "auto_fix"])
    assert found["auto_fix"]["notes"]["acted"] == 0
    alone = train(plan, TINY, 0, average=TableAverages)
    assert alone.averaged is not None
    assert found["off"]["ranks"] == found["auto_fix"]["ranks"] == alone.trained.ranks
    assert found["average"]["ranks"] == alone.averaged.ranks


def test_where_auto_fix_acted_the_baseline_is_trained_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = replace(SHORT, epochs=30, lr=3e-2)

    def everything(state: Any, weight: torch.Tensor, settings: Settings) -> Any:
        return np.arange(weight.shape[0])

    def opened(self: LossGate) -> Verdict:
        return Verdict(True, 0.1, "planted")

    monkeypatch.setattr(intervene, "eligible_rows", everything)
    monkeypatch.setattr(LossGate, "verdict", opened)
    found = train_arms(plan, TINY, 0, ["off", "auto_fix"])
    assert found["auto_fix"]["notes"]["acted"] > 0
    assert found["auto_fix"]["notes"]["states"]["acts"] > 0
    assert found["off"]["ranks"] == train(plan, TINY, 0).trained.ranks
    assert found["off"]["ranks"] != found["auto_fix"]["ranks"]


def test_proposals_begin_with_the_baseline() -> None:
    found = train_arms(replace(SHORT, epochs=20), TINY, 0, ["proposed"])
    validations = found["proposed"]["notes"]["validations"]
    assert validations[0] == round(found["off"]["validation"], 5)
    assert len(validations) == 1 + len(found["proposed"]["notes"]["edits"])
    kept = found["proposed, gated"]["notes"]["kept"]
    assert validations[kept] == max(validations)


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
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\n3 trainings to do" in done.stdout
    kept = (tmp_path / "results.jsonl").read_bytes().rstrip()
    # Killed in the middle of a line.
    (tmp_path / "results.jsonl").write_bytes(kept[:-40])
    assert "\n1 trainings to do" in validate(*only)
    told = validate(*only, "--report")
    assert "trainings to do" not in told
    assert told.partition("# What")[2] == done.stdout.partition("# What")[2]
    table = json.loads((tmp_path / "table.json").read_text())
    assert {each["arm"] for each in table["comparisons"]} == set(TRAINED) - {"off"}
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tmp_path / "tuned.json"
    chosen = {"lr": 1e-2, "weight_decay": 0.1, "epochs": 9, "patience": 1}
    tuned.write_text(json.dumps({"chosen": {"mf-bce AdamW": chosen}}))
    monkeypatch.setattr("validation.plans.TUNED", tuned)
    plans, left_out = planned(["mf-bce/tuned/*", "mf-bce/lr x 4/*", "mf-bpr/tuned/off"])
    assert plans["mf-bce", "tuned"] == Plan("mf-bce", "AdamW", **chosen)
    assert plans["mf-bce", "lr x 4"].lr == 4e-2
    assert left_out == [
        'mf-bpr, tuned: not tuned: python examples/validate_autofix.py --search "mf-bpr AdamW"'
    ]


def test_the_most_wanted_is_trained_first_and_whole_seeds_at_a_time(tmp_path: Path) -> None:
    plans, _ = planned(list(ASKED))
    agenda = Agenda(plans, list(ASKED), Seeds(2, 3), "here")
    results = Results(tmp_path)
    jobs = list(agenda.jobs(results, ""))
    assert [(job.model, job.setting, job.seeds) for job in jobs[:6]] == [
        ("mf-bce", "adam 1e-2", (100,)),
        ("mf-bpr", "adam 1e-2", (100,)),
        ("mf-bce", "adam 1e-2", (101,)),
        ("mf-bpr", "adam 1e-2", (101,)),
        ("mf-bce", "adam 1e-2", (100, 101)),
        ("mf-bpr", "adam 1e-2", (100, 101)),
    ]
    assert jobs[0].arms == tuple(arm for arm in TRAINED if arm != ALL_ROWS)
    assert jobs[4].arms == ("original",)
    tuned = [job for job in jobs if (job.model, job.setting) == ("mf-bce", "tuned")]
    assert [job.arms for job in tuned if job.seeds == (102,)] == [
        ("off", "average", "average, gated")
    ]
    for arm in jobs[0].arms:
        results.add(("mf-bce", "adam 1e-2", arm, 100), plans["mf-bce", "adam 1e-2"], "here", {})
    assert next(agenda.jobs(results, "")) == jobs[1]
