"""What compression recipes are worth on MovieLens-100K: bytes, NDCG@10, and whether the floor held.

    python examples/validate_compression.py --seeds 3
    python examples/validate_compression.py --tune      # which settings do best on validation
    python examples/validate_compression.py --plot out.png

Three tuned recommenders, and for each seed: our recipe at the floor, ours within the bytes of
uniform INT4 and at 8x, each also finished, uniform INT8 and INT4 (each row from its least to its
greatest number, and by our search of the range), and magnitude pruning to the bytes of uniform INT4
(16 bits and a bitmap).
Validation is what the solver sees; the test is scored once, afterwards. Trained weights and results
are kept in `--cache`, so that a run can go on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from torch import Tensor, nn

import finished_forms
import movielens
import recommenders
from compressed_forms import file_size, min_max, pruned, saved_bytes, uniform
from compression_plot import plot
from gradtracer import RecipeGenerator
from gradtracer.compression.quality import compare, values_of
from gradtracer.compression.simulation import simulated
from gradtracer_schemas import Recipe
from recommenders import TUNED, MatrixFactorization, Sequential, Setting, Task, TwoTower

FLOOR = 0.995
FLOOR_ROW = "ours at the floor"
EMPTY = Recipe(model="", layers={})
GRID: dict[str, list[Setting]] = {
    "mf": [
        Setting(partial(MatrixFactorization, dim=dim), 3e-3, decay, 1024, 90)
        for dim in (32, 64, 128, 256, 512)
        for decay in (0.1, 0.3, 0.6)
    ],
    "two-tower": [
        Setting(
            partial(TwoTower, dim=32, temperature=0.1, dropout=0.2),
            3e-3,
            0.01,
            1024,
            60,
        ),
        Setting(
            partial(TwoTower, dim=32, temperature=0.15, dropout=0.3),
            3e-3,
            0.1,
            1024,
            60,
        ),
        Setting(
            partial(TwoTower, dim=64, temperature=0.2, dropout=0.3),
            2e-3,
            0.1,
            1024,
            60,
        ),
        Setting(
            partial(TwoTower, dim=32, temperature=0.2, dropout=0.2),
            3e-3,
            0.3,
            1024,
            60,
        ),
    ],
    "sequential": [
        Setting(partial(Sequential, dim=64, blocks=1, dropout=0.3), 2e-3, 0.01, 64, 40),
        Setting(partial(Sequential, dim=48, blocks=2, dropout=0.3), 3e-3, 0.01, 64, 40),
        Setting(partial(Sequential, dim=64, blocks=1, dropout=0.5), 4e-3, 0.1, 64, 40),
    ],
}
"""Each with more epochs than it needs: the best number of them is found too."""
TUNING_SEEDS = (100, 101, 102)
"""Of trainings that are measured for nothing else."""


def measure(name: str, task: Task, seed: int, cache: Path, finishes: bool) -> dict[str, Any]:
    """Everything of one model and seed."""
    model = recommenders.trained(name, task, seed, cache)
    base = float(recommenders.test(model, task).mean())
    full = file_size(model)
    rows: dict[str, dict[str, float]] = {}

    def note(row: str, changed: nn.Module, size: int) -> None:
        rows[row] = {
            "bytes": size,
            "times": full / size,
            "validation": float(recommenders.validate(changed, task).mean()),
            "test": float(recommenders.test(changed, task).mean()),
        }

    note("FP32", model, full)
    for quantization in ("INT8", "INT4"):
        recipe = uniform(model, quantization)
        note(f"uniform {quantization}", simulated(model, recipe), saved_bytes(model, recipe))
    int4 = int(rows["uniform INT4"]["bytes"])
    note("uniform INT4, min-max", min_max(model), int4)
    note("magnitude pruning", pruned(model, int4), int4)

    def evaluate(each: nn.Module) -> Tensor:
        return recommenders.validate(each, task)

    started = time.process_time()
    generator = RecipeGenerator(
        model,
        evaluate=evaluate,
        floor=FLOOR,
        loss=lambda each: recommenders.held_out_loss(each, task),
        metric="NDCG@10",
    )
    recipe = generator.generate()
    seconds = time.process_time() - started
    note(FLOOR_ROW, simulated(model, recipe), saved_bytes(model, recipe))
    finished: dict[int, tuple[nn.Module, int]] = {}
    for row, most in (("ours within INT4's bytes", int4), ("ours at 8x", full // 8)):
        within, size = _within(generator, model, most)
        note(row, simulated(model, within), size)
        if not finishes:
            continue
        if size not in finished:
            finished[size] = _finished(name, task, model, within, evaluate)
        note(f"{row}, finished", *finished[size])
    if finishes:
        # what training on by itself does: without it the finished would be flattered
        note("FP32, finished", *_finished(name, task, model, EMPTY, evaluate))
        # the smaller of the finished one and of the unfinished whose floor the solver vouches for
        asked, after = (values_of(evaluate, each) for each in (model, finished[size][0]))
        row = "ours at 8x, finished" if generator.holds(compare(asked, after, 0.9)) else FLOOR_ROW
        rows["ours, floor vouched for"] = dict(rows[row])
    return {
        "model": name,
        "seed": seed,
        "base": base,
        "seconds": seconds,
        "rows": rows,
    }


def _within(generator: RecipeGenerator, model: nn.Module, most: int) -> tuple[Recipe, int]:
    """The recipe whose file has at most so many bytes, and how many it has.

    Beside its numbers a file has a header, which is longer with tiers: what a file has too many of
    is asked for less, until it fits.
    """
    asked = most
    while True:
        recipe = generator.within(asked)
        size = saved_bytes(model, recipe)
        if size <= most or asked <= 0:
            return recipe, size
        asked -= size - most


def _finished(
    name: str, task: Task, model: nn.Module, recipe: Recipe, evaluate: Any
) -> tuple[nn.Module, int]:
    """What finishing leaves, and the bytes of its file."""
    changed, storage = finished_forms.finished(name, task, model, recipe, evaluate)
    return simulated(changed, storage), saved_bytes(changed, storage)


def table(results: list[dict[str, Any]]) -> str:
    """One line for each model and way."""
    lines = [
        f"{'model':<11}{'':<36}{'smaller':>8}{'test NDCG@10':>14}{'change %':>24}"
        f"{'floor held':>12}{'p INT4':>9}{'p pruned':>10}"
    ]
    for name in dict.fromkeys(each["model"] for each in results):
        mine = [each for each in results if each["model"] == name]
        lines += [_line(name, row, mine) for row in mine[0]["rows"]]
        seconds = np.median([each["seconds"] for each in mine])
        lines.append(f"{name:<11}recipe in {seconds:.0f} s of CPU")
    return "\n".join(lines)


def _line(name: str, row: str, mine: list[dict[str, Any]]) -> str:
    test = np.array([each["rows"][row]["test"] for each in mine])
    base = np.array([each["base"] for each in mine])
    change = 100 * (test / base - 1)
    held = int((test >= FLOOR * base).sum())
    times = np.median([each["rows"][row]["times"] for each in mine])
    interval = ""
    if len(mine) > 1:
        half = stats.t.ppf(0.975, len(mine) - 1) * change.std(ddof=1) / len(mine) ** 0.5
        interval = f" [{change.mean() - half:+.2f}, {change.mean() + half:+.2f}]"
    told = f"{change.mean():+.2f}{interval}"
    against = ""
    if row.startswith("ours") and len(mine) > 1:
        for width, other in ((9, "uniform INT4, min-max"), (10, "magnitude pruning")):
            theirs = np.array([each["rows"][other]["test"] for each in mine])
            p = stats.ttest_rel(test, theirs).pvalue
            against += f"{'+' if (test - theirs).mean() > 0 else '-'}{p:.3f}".rjust(width)
    return (
        f"{name:<11}{row:<36}{times:>7.1f}x{test.mean():>14.4f}{told:>24}"
        f"{f'{held} of {len(mine)}':>12}{against}"
    )


def run(
    task: Task, names: list[str], seeds: range, cache: Path, *, finishes: bool = True
) -> list[dict[str, Any]]:
    """All models and seeds, those of the cache not again."""
    cache.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for name in names:
        for seed in seeds:
            path = cache / f"{name}_{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(name, task, seed, cache, finishes)))
            results.append(json.loads(path.read_text()))
            print(f"{name} seed {seed}", file=sys.stderr, flush=True)
    return results


def tune(task: Task, names: list[str]) -> None:
    """Print the best validation of every setting of the grid."""
    for name in names:
        for at, setting in enumerate(GRID[name]):
            epochs, value = recommenders.best_epoch(setting, task, TUNING_SEEDS)
            built = ", ".join(f"{key} {given}" for key, given in setting.build.keywords.items())
            print(
                f"{name} {at}: {built}, lr {setting.lr}, decay {setting.decay}: validation "
                f"NDCG@10 {value:.4f} after {epochs} epochs",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", choices=list(TUNED), default=list(TUNED))
    parser.add_argument("--data", help="ml-100k.inter, u.data, or the folder that holds it")
    parser.add_argument("--cache", type=Path, default=Path("build") / "compression")
    parser.add_argument("--no-finish", action="store_true", help="leave the finishing out")
    parser.add_argument("--tune", action="store_true", help="try the grid and print validation")
    parser.add_argument(
        "--grid",
        type=int,
        nargs=2,
        metavar=("AT", "EPOCHS"),
        help="of the one model named, in place of the tuned: a setting of --tune, trained so long",
    )
    parser.add_argument("--plot", type=Path, help="write a figure here")
    args = parser.parse_args()
    if args.grid and (
        len(args.models) != 1 or args.grid[0] not in range(len(GRID[args.models[0]]))
    ):
        parser.error("--grid takes one of --models, and the number of a setting that --tune prints")
    try:
        task = recommenders.load_task(args.data)
    except movielens.DataError as error:
        sys.exit(f"validate_compression: {error}")
    print(f"data: {task.source}; {len(task.train):,} interactions train")
    if args.tune:
        tune(task, args.models)
        return
    if args.grid:
        at, epochs = args.grid
        TUNED[args.models[0]] = GRID[args.models[0]][at]._replace(epochs=epochs)
        args.cache /= f"{args.models[0]}_{at}_{epochs}"
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    results = run(task, args.models, seeds, args.cache, finishes=not args.no_finish)
    print(table(results))
    if args.plot:
        plot(results, args.plot, FLOOR)


if __name__ == "__main__":
    main()
