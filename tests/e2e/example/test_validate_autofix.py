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

import msgspec
import pytest

import movielens
import validate_autofix
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
from validation import films
from validation.arms import ARMS, GROUPS
from validation.plans import Plan
from validation.proposals import proposed
from validation.results import Results
from validation.training import train
from validation.watchers import Watched, holding, interventions

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


def test_interventions_are_counted() -> None:
    acts = Intervention(
        layer="item_emb",
        action="shrink-updates",
        rows=7,
        held_out=2,
        holdout=0.2,
        seed=0,
        mean_scale=0.4,
        reason="r",
    )
    stops = msgspec.structs.replace(acts, action="stop", rows=0, mean_scale=1.0)
    waits = msgspec.structs.replace(stops, action="wait")
    told = [event(InterventionEvent, body, 0) for body in (waits, acts, stops)]
    assert interventions(told) == {"acted": 1, "stopped": 1, "rows": 7, "scale": 0.4}
    assert interventions([]) == {"acted": 0, "stopped": 0, "rows": 0, "scale": 1.0}


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
