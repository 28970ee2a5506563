"""Size against the change of the test NDCG@10: one panel for each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

STYLES = {
    "uniform INT8": ("s", "tab:gray"),
    "uniform INT4": ("^", "tab:gray"),
    "uniform INT4, min-max": ("v", "tab:gray"),
    "magnitude pruning": ("x", "black"),
    "FP32, finished": ("*", "tab:gray"),
    "ours at the floor": ("o", "tab:green"),
    "ours within INT4's bytes": ("o", "tab:blue"),
    "ours within INT4's bytes, finished": ("D", "tab:blue"),
    "ours at 8x": ("o", "tab:orange"),
    "ours at 8x, finished": ("D", "tab:orange"),
}
"""Marker and colour of what is drawn; the rest of the table is not."""
_LINEAR = 5
"""Per cent around 0 that are drawn to scale; beyond it a decade is as wide as from 0 to here."""


def plot(results: list[dict[str, Any]], path: Path, floor: float) -> None:
    """Draw the means over seeds with their 95 % intervals, and the floor as a line."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(each["model"] for each in results))
    figure, axes = plt.subplots(
        1, len(names), figsize=(4.5 * len(names), 4), squeeze=False, sharey=True
    )
    for axis, name in zip(axes[0], names, strict=True):
        mine = [each for each in results if each["model"] == name]
        for row, (marker, color) in STYLES.items():
            held = [each for each in mine if row in each["rows"]]
            if not held:
                continue
            times = np.median([each["rows"][row]["times"] for each in held])
            change = np.array(
                [100 * (each["rows"][row]["test"] / each["base"] - 1) for each in held]
            )
            half = 0.0
            if len(held) > 1:
                half = stats.t.ppf(0.975, len(held) - 1) * change.std(ddof=1) / len(held) ** 0.5
            axis.errorbar(
                times, change.mean(), half, fmt=marker, color=color, label=row, capsize=2, alpha=0.8
            )
        axis.axhline(-100 * (1 - floor), linestyle="--", color="tab:red", linewidth=1)
        axis.axhline(0, color="lightgray", linewidth=1, zorder=0)
        axis.set_yscale("symlog", linthresh=_LINEAR)
        axis.set_yticks([-50, -20, -5, -2, 0, 2, 5], ["-50", "-20", "-5", "-2", "0", "2", "5"])
        axis.set(title=f"{name}, {len(mine)} seeds", xlabel="times smaller on disk")
    axes[0][0].set_ylabel("test NDCG@10, change in %")
    axes[0][-1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.savefig(path, bbox_inches="tight", dpi=130)
    plt.close(figure)
