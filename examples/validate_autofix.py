"""Does Auto-Fix help? Trainings of one seed with and without it, tested and told as they come out.

    python examples/validate_autofix.py                      # hours; resumes where it was stopped
    python examples/validate_autofix.py --only "mf-*/tuned/*" --jobs 2
    python examples/validate_autofix.py --report             # the table of what there is
    python examples/validate_autofix.py --report --publish   # RESULTS.md, and what is quoted of it

MovieLens-100K, last film of each user for test, the one before for validation, NDCG@10 and HR@10
among all films that were not met in training. Arms of one seed share initialisation, batches and
negatives. Written to the cache folder: `results.jsonl` with every result, `table.md`, `table.json`
with each user's rank, and a plot. The most wanted is trained first (`validation/agenda.py`).
`--search` tunes the baselines anew.

Arms: `off`; `average` of the embedding rows over steps, and the same served only where validation
prefers it (`gated`); `auto_fix`, as it comes and on all rows; `proposed`, the training edits that
the diagnoses prefer, really made, up to twice in succession, and the best of them by
validation (`gated`); `original`, the auto_fix of gradtracer 0.9.0.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import movielens
from validation import films
from validation.agenda import ASKED, Agenda, Job, Seeds, chosen, planned
from validation.arms import ARMS, Record, original, train_arms
from validation.document import document, quote
from validation.models import MODELS
from validation.plans import SETTINGS
from validation.results import Results
from validation.search import GRIDS, search
from validation.tables import Records, rows

PUBLISHED = Path(__file__).with_name("validation") / "RESULTS.md"
FIGURES = Path(__file__).parents[1] / "tests" / "bench" / "README.md"


def work(job: Job) -> list[tuple[str, int, Record]]:
    """Arm, seed and record of everything that the job trains."""
    torch.set_num_threads(1)
    if job.arms == ("original",):
        found = original(job.model, job.setting, list(job.seeds), job.data)
        return [("original", seed, record) for seed, record in found.items()]
    plan, found_films = SETTINGS[job.setting](job.model), load(job.data)
    return [
        (arm, seed, record)
        for seed in job.seeds
        for arm, record in train_arms(plan, found_films, seed, job.arms).items()
    ]


def load(data: str) -> films.Films:
    """`tiny`, or MovieLens-100K from that path; empty: where the examples look."""
    return films.tiny() if data == "tiny" else films.load(data or None)


def train_all(args: argparse.Namespace, results: Results, agenda: Agenda) -> None:
    """Train what is missing, in so many processes, and keep each result as it comes."""
    jobs, source = list(agenda.jobs(results, args.data)), agenda.source
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
        said = failure or ", ".join(arm for arm, *_ in records)
        print(
            f"{number}/{count}  {job.model}, {job.setting}, seed {job.seeds[0]}: {said}",
            flush=True,
        )


def gathered(results: Results, agenda: Agenda) -> Records:
    """Valid results, in the order of the table."""
    found: Records = {}
    for record in results:
        model, setting, arm, seed = (record[n] for n in ("model", "setting", "arm", "seed"))
        plan = agenda.plans.get((model, setting))
        if plan is None or arm not in ARMS:
            continue
        valid = results.get((model, setting, arm, seed), plan, agenda.source) is not None
        if valid and (arm == "off" or chosen(agenda.only, model, setting, arm)):
            found.setdefault((model, setting, arm), {})[seed] = record
    places = [list(MODELS), list(SETTINGS), ARMS]
    return dict(
        sorted(
            found.items(),
            key=lambda item: [place.index(n) for place, n in zip(places, item[0], strict=True)],
        )
    )


def report(records: Records, args: argparse.Namespace, seeds: Seeds) -> None:
    """Print the table and what it says; write table, plot and raw values."""
    found, folder = rows(records), args.cache
    if not found:
        print("no arm has two seeds beside its baseline yet: nothing to compare")
        return
    text = document(found, records, seeds)
    print(text)
    (folder / "table.md").write_text(text, encoding="utf-8")
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
    plots = [folder / f"plot.{args.plot}"]
    if args.publish:
        PUBLISHED.write_text(text, encoding="utf-8")
        FIGURES.write_text(quote(FIGURES.read_text(encoding="utf-8"), text), encoding="utf-8")
        plots.append(PUBLISHED.with_name("results.svg"))
    try:
        from validation.plot import draw

        for plot in plots:
            draw(found, plot)
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
        help='MODEL/SETTING/ARM in place of what the table asks for, e.g. "mf-bce/*/auto_fix"; may '
        "be repeated. Models: "
        f"{', '.join(MODELS)}. Settings: {', '.join(SETTINGS)}. Arms: {', '.join(ARMS)}.".replace(
            "%", "%%"
        ),
    )
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument(
        "--publish", action="store_true", help="write RESULTS.md, its plot, and its quotation"
    )
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
    args.only = args.only or list(ASKED)
    if args.quick:
        if args.publish:
            parser.error("expected --publish without --quick: its figures mean nothing")
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
    plans, left_out = planned(args.only)
    for line in left_out:
        print(f"left out: {line}")
    agenda = Agenda(plans, args.only, Seeds(args.seeds, args.averaging_seeds), source)
    if not args.report:
        train_all(args, results, agenda)
        results.read()
    report(gathered(results, agenda), args, agenda.seeds)


if __name__ == "__main__":
    main()
