"""The arms of the comparison: what each trains, and the records it leaves."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gradtracer_schemas import Diagnosis
from validation.films import Films
from validation.plans import Plan
from validation.proposals import proposed
from validation.training import Kept, Outcome, train
from validation.watchers import TableAverages, Watched, holding, interventions

ROUNDS = 2
"""Trainings that may follow one another, each with what the last one's diagnoses propose."""

ALL_ROWS = "auto_fix, all rows"
TRAINED = (
    "off",
    "average",
    "average, gated",
    "auto_fix",
    ALL_ROWS,
    "proposed",
    "proposed, gated",
)
"""Arms that this process trains."""
ARMS = [*TRAINED, "original"]

Record = dict[str, Any]


def _record(kept: Kept, seconds: float, **notes: Any) -> Record:
    return {
        "validation": kept.validation,
        "ranks": kept.ranks,
        "epoch": kept.epoch,
        "seconds": round(seconds, 2),
        "notes": notes,
    }


def train_arms(plan: Plan, films: Films, seed: int, arms: Collection[str]) -> dict[str, Record]:
    """Records of `arms` of one seed; what costs no further training comes along.

    One training with `auto_fix=True` serves as its own baseline where auto-fix scaled no update at
    all, as it is then the baseline's to the bit: only where it acted is there another.
    """
    found: dict[str, Record] = {}
    if ALL_ROWS in arms:
        done, watched = _watched(plan, films, seed, auto_fix=True, auto_fix_rows="all")
        told = interventions(watched.events, watched.tables)
        found[ALL_ROWS] = _record(done.trained, done.seconds, **told)
    if not set(arms) - {ALL_ROWS}:
        return found
    done, watched = _watched(plan, films, seed, average=TableAverages, auto_fix=True)
    told = interventions(watched.events, watched.tables)
    found["auto_fix"] = _record(done.trained, done.seconds, **told)
    if told["acted"]:
        done, watched = _watched(plan, films, seed, average=TableAverages)
    assert done.averaged is not None
    better = done.averaged.validation > done.trained.validation
    gated = done.averaged if better else done.trained
    found["off"] = _record(done.trained, done.seconds)
    found["average"] = _record(done.averaged, done.seconds)
    found["average, gated"] = _record(gated, done.seconds, served=better)
    if {"proposed", "proposed, gated"} & set(arms):
        found |= _proposed(plan, films, seed, found["off"], holding(watched.events))
    return found


def _watched(
    plan: Plan,
    films: Films,
    seed: int,
    *,
    average: type[TableAverages] | None = None,
    **settings: Any,
) -> tuple[Outcome, Watched]:
    """One training and what watched it, at its end."""
    watched: list[Watched] = []

    def watch(*arguments: Any) -> Watched:
        watched.append(Watched(*arguments, **settings))
        return watched[0]

    done = train(plan, films, seed, watch=watch, average=average)
    watched[0].finish()
    return done, watched[0]


def _proposed(
    plan: Plan, films: Films, seed: int, off: Record, diagnoses: list[Diagnosis]
) -> dict[str, Record]:
    """Apply, train, apply again, until nothing new is proposed or `ROUNDS` are done.

    `proposed` is the last training, `proposed, gated` the one with the best validation, which may
    be the first.
    """
    rounds, said, seen = [off], [], {plan}
    types = {each.type for each in diagnoses}
    while len(rounds) <= ROUNDS:
        plan, edits = proposed(plan, diagnoses)
        if not edits or plan in seen:
            break
        seen.add(plan)
        said.append(edits)
        done, watched = _watched(plan, films, seed)
        rounds.append(_record(done.trained, done.seconds))
        diagnoses = holding(watched.events)
        types |= {each.type for each in diagnoses}
    notes = {
        "edits": said,
        "validations": [round(each["validation"], 5) for each in rounds],
        "diagnoses": sorted(types),
    }
    best = max(rounds, key=lambda each: each["validation"])
    return {
        "proposed": {**rounds[-1], "notes": notes},
        "proposed, gated": {**best, "notes": {"kept": rounds.index(best)}},
    }


def original(model: str, setting: str, seeds: list[int], data: str) -> dict[int, Record]:
    """The original's auto_fix, in an environment of its own. Raises RuntimeError."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "bench"))
    from original import OriginalMissing, ask, original_python

    side = Path(__file__).with_name("original_side.py")
    try:
        found = ask(original_python(), side, data, model, setting, *seeds)
    except OriginalMissing as error:
        raise RuntimeError(f"the original cannot be had: {error}") from error
    return {int(seed): record for seed, record in found.items()}
