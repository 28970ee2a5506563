"""How well predicted damage ranks what was measured, beside how well anything could.

    python examples/predicted_damage.py --models sequential --seeds 3

NDCG@10 of some hundred users is itself an estimate: measured on one half of them, it ranks the same
candidates otherwise than on the other. That correlation r of random halves, taken to all users by
2r / (1 + r) (Spearman 1910, Brown 1910), is the reliability of what was measured, and its root the
most that a perfect prediction could correlate with it (Spearman 1904, "attenuation"). A loss on the
very users that are measured knows their noise, and may pass that; on the test it may not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

import movielens
import recommenders
from gradtracer import RecipeGenerator
from gradtracer.compression.simulation import simulated
from gradtracer_schemas import Recipe
from recommenders import TUNED, Task

_HALVES = 40
_CANDIDATES = 48
"""Evenly over the ranks of predicted damage, measured to compare."""


class Agreement(NamedTuple):
    """Of a prediction with a measurement, over candidates."""

    rank: float
    """Spearman's correlation."""
    halves: float
    """That of two random halves of the users."""
    ceiling: float
    """What a perfect prediction would be expected to reach; 0 where the halves do not agree."""
    told_apart: int
    """Candidates whose damage differs from 0 by its interval, 90 % two-sided."""


def agreement(predicted: NDArray[np.float64], lost: NDArray[np.float64]) -> Agreement:
    """Compare.

    Args:
        predicted: `[candidates]`.
        lost: `[candidates, users]` quality before less quality after, of one user each.
    """
    g = np.random.default_rng(0)
    users = lost.shape[1]
    halves: list[float] = []
    for _ in range(_HALVES):
        order = g.permutation(users)
        one, other = (lost[:, part].mean(1) for part in np.array_split(order, 2))
        halves.append(spearman(one, other))
    half = float(np.mean(halves))
    reliability = max(0.0, 2 * half / (1 + half))
    error = lost.std(1, ddof=1) / users**0.5
    told = int((np.abs(lost.mean(1)) > stats.norm.ppf(0.95) * error).sum())
    return Agreement(spearman(predicted, lost.mean(1)), half, reliability**0.5, told)


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Rank correlation."""
    found: Any = stats.spearmanr(one, other)
    return float(found.statistic)


def foretold(generator: RecipeGenerator, model: nn.Module, task: Task) -> dict[str, Any]:
    """What was predicted of single changes of all sizes, and measured on validation and test.

    Predicted by the smooth NDCG of validation; `cross_entropy` is how well the loss ranks both by
    which the generator decides.
    """
    ordered = sorted(generator.tried, key=lambda each: each.damage)
    picks = np.unique(np.linspace(0, len(ordered) - 1, _CANDIDATES).round().astype(int))
    tried = [ordered[at] for at in picks]
    measures = (recommenders.validate, recommenders.test)
    before = [measure(model, task) for measure in measures]
    seen: list[list[Tensor]] = [[], []]
    smooth: list[float] = []
    for each in tried:
        changed = simulated(model, Recipe(model="", layers=dict(each.layers)))
        for lost, measure, value in zip(seen, measures, before, strict=True):
            lost.append(value - measure(changed, task))
        with torch.no_grad():
            smooth.append(float(recommenders.ranking_loss(changed, task)))
    predicted = np.array(smooth)
    entropies = np.array([each.damage for each in tried])
    validation, test = (torch.stack(each).double().numpy() for each in seen)
    return {
        "validation": agreement(predicted, validation)._asdict(),
        "test": agreement(predicted, test)._asdict(),
        "cross_entropy": [spearman(entropies, each.mean(1)) for each in (validation, test)],
        "measured": spearman(validation.mean(1), test.mean(1)),
        "candidates": len(tried),
    }


def line(name: str, results: list[dict[str, Any]]) -> str:
    """Means over trainings."""
    told: list[str] = []
    for at, part in enumerate(("validation", "test")):
        rank, halves, ceiling, apart = (
            np.mean([each[part][name] for each in results]) for name in Agreement._fields
        )
        entropy = np.mean([each["cross_entropy"][at] for each in results])
        told.append(
            f"{part} {rank:.2f} (by cross-entropy {entropy:.2f}; halves of its users {halves:.2f}, "
            f"so other users at most {ceiling:.2f}; {apart:.0f} told from 0)"
        )
    least = min(each["validation"]["rank"] for each in results)
    return (
        f"{name:<11}Spearman of predicted with measured damage, "
        f"{np.mean([each['candidates'] for each in results]):.0f} candidates, {len(results)} "
        f"trainings: {told[0]}, least {least:.2f}; {told[1]}, validation itself "
        f"{np.mean([each['measured'] for each in results]):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", choices=list(TUNED), default=list(TUNED))
    parser.add_argument("--data", help="ml-100k.inter, u.data, or the folder that holds it")
    parser.add_argument("--cache", type=Path, default=Path("build") / "compression")
    args = parser.parse_args()
    try:
        task = recommenders.load_task(args.data)
    except movielens.DataError as error:
        sys.exit(f"predicted_damage: {error}")
    print(f"data: {task.source}; NDCG@10 of {task.users - 1} users", flush=True)
    for name in args.models:
        results: list[dict[str, Any]] = []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            model = recommenders.trained(name, task, seed, args.cache)
            generator = RecipeGenerator(
                model,
                evaluate=lambda each: recommenders.validate(each, task),
                loss=lambda each: recommenders.held_out_loss(each, task),
                measurements=1,
            )
            generator.generate()
            results.append(foretold(generator, model, task))
            print(f"{name} seed {seed}", file=sys.stderr, flush=True)
        print(line(name, results), flush=True)


if __name__ == "__main__":
    main()
