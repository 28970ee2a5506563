"""What the table asks for, the most wanted first, and what of it is still to be trained."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from validation.arms import ARMS, TRAINED
from validation.models import MODELS
from validation.plans import SETTINGS, NotTuned, Plan
from validation.results import Results

FIRST_SEED = 100
"""Seeds below were looked at while this was written."""

ORDER = (
    "mf-*/adam 1e-2",
    "mf-*/tuned",
    "sasrec/adam 1e-2",
    "sasrec/tuned",
    "two-tower/adam 1e-2",
    "two-tower/tuned",
    "mf-*/*",
    "sasrec/*",
    "two-tower/*",
)
ASKED = (
    *(f"*/*/{arm}" for arm in ("off", "average", "average, gated", "auto_fix")),
    "*/adam 1e-*/proposed*",
    "mf-*/adam 1e-2/original",
    "mf-*/tuned/original",
)
"""Cells of the table, as MODEL/SETTING/ARM."""


class Seeds(NamedTuple):
    """How many are planned."""

    usual: int
    averaging: int
    """Of `off` and `average` where the setting is tuned."""

    def of(self, setting: str, arm: str) -> int:
        more = setting == "tuned" and arm.startswith(("off", "average"))
        return max(self) if more else self.usual


class Job(NamedTuple):
    """What one process trains in succession; the original's arm stands alone."""

    model: str
    setting: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str


class Agenda(NamedTuple):
    """The plan of each model and setting, and how many seeds of which arms."""

    plans: dict[tuple[str, str], Plan]
    only: list[str]
    seeds: Seeds
    source: str

    def jobs(self, results: Results, data: str) -> Iterator[Job]:
        """What is not there yet, rank by rank and seed by seed: a stop leaves whole seeds."""
        cells = sorted(self.plans, key=_rank)
        seeds = range(FIRST_SEED, FIRST_SEED + max(self.seeds))
        for _, group in groupby(cells, key=_rank):
            alike = list(group)
            for seed in seeds:
                for model, setting in alike:
                    lacking = [self._lacks(results, model, setting, arm, seed) for arm in TRAINED]
                    arms = tuple(a for a, lacks in zip(TRAINED, lacking, strict=True) if lacks)
                    if arms:
                        yield Job(model, setting, arms, (seed,), data)
            for model, setting in alike:
                left = tuple(
                    s for s in seeds if self._lacks(results, model, setting, "original", s)
                )
                if left:
                    yield Job(model, setting, ("original",), left, data)

    def _lacks(self, results: Results, model: str, setting: str, arm: str, seed: int) -> bool:
        key = (model, setting, arm, seed)
        return (
            seed < FIRST_SEED + self.seeds.of(setting, arm)
            and chosen(self.only, model, setting, arm)
            and results.get(key, self.plans[model, setting], self.source) is None
        )


def planned(only: list[str]) -> tuple[dict[tuple[str, str], Plan], list[str]]:
    """The plan of every chosen model and setting; and, in words, which are left out and why."""
    plans: dict[tuple[str, str], Plan] = {}
    left_out: list[str] = []
    for model in MODELS:
        for setting, plan in SETTINGS.items():
            if not any(chosen(only, model, setting, arm) for arm in ARMS):
                continue
            try:
                plans[model, setting] = plan(model)
            except NotTuned as error:
                left_out.append(f"{model}, {setting}: {error}")
    return plans, left_out


def chosen(patterns: list[str], model: str, setting: str, arm: str) -> bool:
    """Whether any pattern takes it."""
    return any(fnmatch.fnmatch(f"{model}/{setting}/{arm}", pattern) for pattern in patterns)


def _rank(cell: tuple[str, str]) -> int:
    name = "/".join(cell)
    return next((at for at, of in enumerate(ORDER) if fnmatch.fnmatch(name, of)), len(ORDER))
