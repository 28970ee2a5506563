"""The arms of the comparison: what each trains, and the records it leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from validation.films import Films
from validation.plans import Plan
from validation.proposals import proposed
from validation.training import Kept, train
from validation.watchers import TableAverages, Watched, holding, interventions

ROUNDS = 2
"""Trainings that may follow one another, each with what the last one's diagnoses propose."""

Record = dict[str, Any]


def _record(kept: Kept, seconds: float, **notes: Any) -> Record:
    return {
        "validation": kept.validation,
        "ranks": kept.ranks,
        "epoch": kept.epoch,
        "seconds": round(seconds, 2),
        "notes": notes,
    }


def _off(plan: Plan, films: Films, seed: int) -> dict[str, Record]:
    """One training; what its average serves, always or where validation prefers it."""
    done = train(plan, films, seed, average=TableAverages)
    assert done.averaged is not None
    better = done.averaged.validation > done.trained.validation
    gated = done.averaged if better else done.trained
    return {
        "off": _record(done.trained, done.seconds),
        "average": _record(done.averaged, done.seconds),
        "average, gated": _record(gated, done.seconds, served=better),
    }


def _auto_fix(arm: str, plan: Plan, films: Films, seed: int, **settings: Any) -> dict[str, Record]:
    watched: list[Watched] = []

    def watch(*arguments: Any) -> Watched:
        watched.append(Watched(*arguments, auto_fix=True, **settings))
        return watched[0]

    done = train(plan, films, seed, watch=watch)
    return {arm: _record(done.trained, done.seconds, **interventions(watched[0].finish()))}


def _proposed(plan: Plan, films: Films, seed: int) -> dict[str, Record]:
    """Train, apply, train again, until nothing is proposed or `ROUNDS` are done.

    `proposed` is the last training, `proposed, gated` the one with the best validation.
    """
    rounds: list[Record] = []
    said: list[list[str]] = []
    seen = {plan}
    while True:
        watched: list[Watched] = []

        def watch(*arguments: Any, into: list[Watched] = watched) -> Watched:
            into.append(Watched(*arguments))
            return into[0]

        done = train(plan, films, seed, watch=watch)
        diagnoses = holding(watched[0].finish())
        rounds.append(_record(done.trained, done.seconds))
        plan, edits = proposed(plan, diagnoses)
        if not edits or plan in seen or len(rounds) > ROUNDS:
            break
        seen.add(plan)
        said.append(edits)
    notes = {
        "edits": said,
        "validations": [round(each["validation"], 5) for each in rounds],
        "diagnoses": sorted({each.type for each in diagnoses}),
        "as_off": rounds[0]["ranks"],
    }
    best = max(rounds, key=lambda each: each["validation"])
    return {
        "proposed": {**rounds[-1], "notes": notes},
        "proposed, gated": {**best, "notes": {"kept": rounds.index(best)}},
    }


GROUPS: dict[tuple[str, ...], Callable[[Plan, Films, int], dict[str, Record]]] = {
    ("off", "average", "average, gated"): _off,
    ("auto_fix",): partial(_auto_fix, "auto_fix"),
    ("auto_fix, all rows",): partial(_auto_fix, "auto_fix, all rows", auto_fix_rows="all"),
    ("proposed", "proposed, gated"): _proposed,
}
"""Arms that share a training."""
ARMS = [*(arm for group in GROUPS for arm in group), "original"]


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
