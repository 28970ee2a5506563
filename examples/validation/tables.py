"""The table of all comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from validation.arms import ARMS
from validation.significance import (
    P_VALUES,
    Array,
    Comparison,
    Pooled,
    compare,
    gains,
    holm,
    pool,
)

BASELINE = "off"
SMALL = 0.05


class Row(NamedTuple):
    """One arm in one setting of one model."""

    model: str
    setting: str
    arm: str
    ndcg: Comparison
    hit_rate: Comparison
    adjusted: dict[str, float]
    """The p-values of `ndcg` after Holm, each kind of test a family over the whole table."""
    unlike: int
    """Seeds whose result is not the baseline's: 0 where the arm did nothing."""


Records = dict[tuple[str, str, str], dict[int, dict[str, Any]]]
"""By model, setting and arm, then by seed."""


def rows(records: Records) -> list[Row]:
    """Every arm against the baseline on the seeds that both have; two seeds at least."""
    found: list[tuple[str, str, str, Comparison, Comparison, int]] = []
    for (model, setting, arm), after in records.items():
        before = records.get((model, setting, BASELINE), {})
        seeds = sorted(after.keys() & before.keys())
        if arm == BASELINE or len(seeds) < 2:
            continue
        a, b = _paired(before, after, seeds)
        unlike = sum(before[seed]["ranks"] != after[seed]["ranks"] for seed in seeds)
        found.append((model, setting, arm, compare(a[0], b[0]), compare(a[1], b[1]), unlike))
    families = {name: holm([getattr(each[3], name) for each in found]) for name in P_VALUES}
    return [
        Row(*each[:5], {name: families[name][at] for name in P_VALUES}, each[5])
        for at, each in enumerate(found)
    ]


def pooled(records: Records, setting: str, arm: str) -> Pooled | None:
    """`arm` in `setting`, over all models that have it, on the seeds that all of them have."""
    models = sorted({m for m, s, a in records if (s, a) == (setting, arm)})
    parts = [(records.get((m, setting, BASELINE), {}), records[m, setting, arm]) for m in models]
    shared = [set(before) & set(after) for before, after in parts]
    seeds = sorted(set.intersection(*shared)) if shared else []
    if len(seeds) < 2:
        return None
    pairs: list[tuple[Array, Array]] = []
    for before, after in parts:
        a, b = _paired(before, after, seeds)
        pairs.append((a[0], b[0]))
    return pool(pairs)


def _paired(
    before: dict[int, dict[str, Any]], after: dict[int, dict[str, Any]], seeds: list[int]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    a, b = ([each[seed]["ranks"] for seed in seeds] for each in (before, after))
    return gains(a), gains(b)


HEAD = (
    "| model | setting | arm | seeds | NDCG@10 off | on | change [95 %] | HR@10 | d | p seeds t "
    "| Wilcoxon | p users t | Wilcoxon |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def markdown(found: list[Row], keep: Callable[[Row], bool] = lambda row: True) -> str:
    """The rows as Markdown; p-values after Holm, bold where the first is below .05."""
    return "\n".join([HEAD, *(_line(row) for row in found if keep(row))])


def _line(row: Row) -> str:
    ndcg = row.ndcg
    change = f"{percent(ndcg.gain)} [{percent(ndcg.interval[0])}, {percent(ndcg.interval[1])}]"
    if not row.unlike:
        change = "none: same ranks"
    elif row.adjusted["p_seeds_t"] < SMALL:
        change = f"**{change}**"
    values = [
        row.model,
        row.setting,
        row.arm,
        str(ndcg.seeds),
        f"{ndcg.before:.4f}",
        f"{ndcg.after:.4f}",
        change,
        percent(row.hit_rate.gain),
        f"{ndcg.effect:+.2f}",
        *(f"{row.adjusted[name]:.2g}" for name in P_VALUES),
    ]
    return "| " + " | ".join(values) + " |"


def arms_of(found: list[Row]) -> list[str]:
    """Those that are there, in the order in which arms are named."""
    return [arm for arm in ARMS if any(row.arm == arm for row in found)]


def summary(found: list[Row]) -> str:
    """A line for each model and setting, a column for each arm: change of NDCG@10 in %, 95 %.

    Bold where the t-test over seeds is below .05 after Holm; `same` where the arm changed nothing.
    """
    arms = arms_of(found)
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found:
        lines.setdefault((row.model, row.setting), {})[row.arm] = row
    head = ["model", "setting", "off", *arms]
    told = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for (model, setting), of in lines.items():
        base = next(iter(of.values())).ndcg.before
        cells = [_cell(of[arm]) if arm in of else "" for arm in arms]
        told.append("| " + " | ".join([model, setting, f"{base:.4f}", *cells]) + " |")
    return "\n".join(told)


def _cell(row: Row) -> str:
    if not row.unlike:
        return "same"
    low, high = (np.round(100 * bound, 1) + 0.0 for bound in row.ndcg.interval)
    cell = f"{np.round(100 * row.ndcg.gain, 1) + 0.0:+.1f} [{low:.1f}, {high:.1f}]"
    return f"**{cell}**" if row.adjusted["p_seeds_t"] < SMALL else cell


def percent(share: float) -> str:
    """`+1.4 %`."""
    return f"{np.round(100 * share, 1) + 0.0:+.1f} %"
