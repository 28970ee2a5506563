"""Does Auto-Fix help? Trainings of one seed with and without it, tested and told as they come out.

    python examples/validate_autofix.py                      # hours; resumes where it was stopped
    python examples/validate_autofix.py --only "mf-*/tuned/*" --jobs 2
    python examples/validate_autofix.py --report             # the table of what there is

MovieLens-100K, last film of each user for test, the one before for validation, NDCG@10 and HR@10
among all films that were not met in training. Arms of one seed share initialisation, batches and
negatives. Written to the cache folder: `results.jsonl` with every result, `table.md`, `table.json`
with each user's rank, and a plot. `--search` tunes the baselines anew.

Arms: `off`; `average` of the embedding rows over steps, and the same served only where validation
prefers it (`gated`); `auto_fix`, as it comes and on all rows; `proposed`, the training edits that
the diagnoses prefer, really made, up to twice in succession, and the best of them by
validation (`gated`); `original`, the auto_fix of gradtracer 0.9.0.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import movielens
from validation import films
from validation.arms import ARMS, GROUPS, Record, original
from validation.models import MODELS
from validation.plans import SETTINGS, NotTuned, Plan
from validation.results import Results
from validation.search import GRIDS, search
from validation.tables import Records, markdown, rows, summary, verdicts

FIRST_SEED = 100
"""Seeds below were looked at while this was written."""


class Job(NamedTuple):
    """One training, or what one process trains in succession."""

    model: str
    setting: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str


def work(job: Job) -> list[tuple[str, int, Record]]:
    """Arm, seed and record of everything that the job trains."""
    torch.set_num_threads(1)
    if job.arms == ("original",):
        found = original(job.model, job.setting, list(job.seeds), job.data)
        return [("original", seed, record) for seed, record in found.items()]
    train, plan = GROUPS[job.arms], SETTINGS[job.setting](job.model)
    found_films = load(job.data)
    return [
        (arm, seed, record)
        for seed in job.seeds
        for arm, record in train(plan, found_films, seed).items()
    ]


def load(data: str) -> films.Films:
    """`tiny`, or MovieLens-100K from that path; empty: where the examples look."""
    return films.tiny() if data == "tiny" else films.load(data or None)


def wanted(args: argparse.Namespace, results: Results, source: str) -> Iterator[Job]:
    """Jobs whose results are not there yet, seed by seed, so that any stop leaves whole seeds."""
    plans = planned(args.only)
    most = max(args.seeds, args.averaging_seeds)
    for seed in range(FIRST_SEED, FIRST_SEED + most):
        for arms in GROUPS:
            for (model, setting), plan in plans.items():
                enough = args.averaging_seeds if "average" in arms and setting == "tuned" else 0
                chosen = [arm for arm in arms if _chosen(args.only, model, setting, arm)]
                if not chosen or seed >= FIRST_SEED + max(args.seeds, enough):
                    continue
                keys = [(model, setting, arm, seed) for arm in chosen]
                if any(results.get(key, plan, source) is None for key in keys):
                    yield Job(model, setting, arms, (seed,), args.data)
    for (model, setting), plan in plans.items():
        if not _chosen(args.only, model, setting, "original"):
            continue
        seeds = tuple(
            seed
            for seed in range(FIRST_SEED, FIRST_SEED + args.seeds)
            if results.get((model, setting, "original", seed), plan, source) is None
        )
        if seeds:
            yield Job(model, setting, ("original",), seeds, args.data)


def planned(only: list[str]) -> dict[tuple[str, str], Plan]:
    """The plan of every chosen model and setting; says which are left out, and why."""
    plans: dict[tuple[str, str], Plan] = {}
    for model in MODELS:
        for setting, plan in SETTINGS.items():
            if not any(_chosen(only, model, setting, arm) for arm in ARMS):
                continue
            try:
                plans[model, setting] = plan(model)
            except NotTuned as error:
                print(f"left out: {model}, {setting}: {error}")
    return plans


def _chosen(patterns: list[str], model: str, setting: str, arm: str) -> bool:
    return any(fnmatch.fnmatch(f"{model}/{setting}/{arm}", pattern) for pattern in patterns)


def train_all(args: argparse.Namespace, results: Results, source: str) -> None:
    """Train what is missing, in so many processes, and keep each result as it comes."""
    jobs = list(wanted(args, results, source))
    print(f"{len(jobs)} trainings to do, results in {results.path}", flush=True)
    if args.jobs == 1:
        _keep(map(_told, jobs), results, source, len(jobs))
    elif jobs:
        with multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=50) as pool:
            _keep(pool.imap_unordered(_told, jobs), results, source, len(jobs))


Answer = tuple[Job, list[tuple[str, int, Record]], str]


def _told(job: Job) -> Answer:
    """The job's records, or why there are none: one failure must not end the others."""
    try:
        return job, work(job), ""
    except RuntimeError as error:
        return job, [], str(error)


def _keep(answers: Iterator[Answer], results: Results, source: str, count: int) -> None:
    for number, (job, records, failure) in enumerate(answers, 1):
        plan = SETTINGS[job.setting](job.model)
        for arm, seed, record in records:
            results.add((job.model, job.setting, arm, seed), plan, source, record)
        said = failure or f"{sum(record['seconds'] for *_, record in records[:1]):.1f} s"
        print(
            f"{number}/{count}  {job.model}, {job.setting}, {job.arms[0]}, seed {job.seeds[0]}: "
            f"{said}",
            flush=True,
        )


def gathered(results: Results, source: str, only: list[str]) -> Records:
    """Valid results, in the order of the table."""
    found: Records = {}
    plans = planned(only)
    for record in results:
        model, setting, arm, seed = (record[n] for n in ("model", "setting", "arm", "seed"))
        plan = plans.get((model, setting))
        if plan is None or arm not in ARMS:
            continue
        valid = results.get((model, setting, arm, seed), plan, source) is not None
        if valid and (arm == "off" or _chosen(only, model, setting, arm)):
            found.setdefault((model, setting, arm), {})[seed] = record
    places = [list(MODELS), list(SETTINGS), ARMS]
    return dict(
        sorted(
            found.items(),
            key=lambda item: [place.index(n) for place, n in zip(places, item[0], strict=True)],
        )
    )


def report(records: Records, folder: Path, plot: str) -> None:
    """Print the table and what it says; write table, plot and raw values."""
    found = rows(records)
    if not found:
        print("no arm has two seeds beside its baseline yet: nothing to compare")
        return
    said = "\n".join(f"- {line}" for line in verdicts(found, records))
    text = "\n\n".join([summary(found), said, markdown(found)])
    print(text)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    raw: list[dict[str, Any]] = [
        {
            "model": row.model,
            "setting": row.setting,
            "arm": row.arm,
            "ndcg": row.ndcg._asdict(),
            "hit_rate": row.hit_rate._asdict(),
            "holm": row.adjusted,
            "unlike_off": row.unlike,
        }
        for row in found
    ]
    results = [record for by_seed in records.values() for record in by_seed.values()]
    whole = {"comparisons": raw, "results": results}
    (folder / "table.json").write_text(json.dumps(whole) + "\n", encoding="utf-8")
    try:
        from validation.plot import draw

        draw(found, folder / f"plot.{plot}")
    except ImportError:
        print("validate_autofix: no plot, as matplotlib is missing: pip install matplotlib")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Validate Auto-Fix on MovieLens-100K.")
    parser.add_argument("--cache", type=Path, default=Path("build/validate"), metavar="FOLDER")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--averaging-seeds", type=int, default=20, help="seeds of `off` and `average` when tuned"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help='MODEL/SETTING/ARM, e.g. "mf-bce/*/auto_fix"; may be repeated. Models: '
        f"{', '.join(MODELS)}. Settings: {', '.join(SETTINGS)}. Arms: {', '.join(ARMS)}.".replace(
            "%", "%%"
        ),
    )
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--plot", choices=["svg", "png"], default="svg")
    parser.add_argument(
        "--search", nargs="*", metavar="NAME", help=f"tune the baselines: {', '.join(GRIDS)}"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tiny generated set and three seeds: shows that it runs, its figures mean nothing",
    )
    parser.add_argument("--data", default="", help="ml-100k.inter, u.data, or the folder of it")
    args = parser.parse_args(argv)
    args.only = args.only or ["*"]
    if args.quick:
        args.data, args.seeds, args.averaging_seeds = "tiny", 3, 3
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    torch.set_num_threads(1)
    try:
        found = load(args.data)
    except movielens.DataError as error:
        sys.exit(f"validate_autofix: {error}")
    print(f"data: {len(found.train):,} training pairs from {found.source}")
    if args.search is not None:
        search(found, args.search)
        return
    results = Results(args.cache)
    # Where a copy of the set lies says nothing of what is in it.
    source = "MovieLens-100K" if "generated" not in found.source else found.source
    if not args.report:
        train_all(args, results, source)
        results.read()
    report(gathered(results, source, args.only), args.cache, args.plot)


if __name__ == "__main__":
    main()
