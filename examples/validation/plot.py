"""One plot of all comparisons: change of NDCG@10 with its interval, a panel for each model."""

from __future__ import annotations

from pathlib import Path

from validation.tables import Row, arms_of

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")


def draw(found: list[Row], path: Path) -> None:
    """Write `path` in the form of its suffix. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "gradtracer"
    from matplotlib import pyplot

    models = list(dict.fromkeys(row.model for row in found))
    settings = list(dict.fromkeys(row.setting for row in found))[::-1]
    arms = arms_of(found)
    height = 1.9 + 0.7 * len(settings)
    figure, panels = pyplot.subplots(
        1,
        max(1, len(models)),
        figsize=(4 + 3 * len(models), height),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for panel, model in zip(panels[0], models, strict=False):
        panel.axvline(0.0, color="#999999", linewidth=0.8)
        for between in range(1, len(settings)):
            panel.axhline(between - 0.5, color="#dddddd", linewidth=0.6)
        panel.set_title(model)
        panel.set_xlabel("change of NDCG@10, %")
        for row in (each for each in found if each.model == model):
            place = arms.index(row.arm)
            y = settings.index(row.setting) + 0.35 - 0.7 * (place + 0.5) / len(arms)
            low, high = row.ndcg.interval
            gain = row.ndcg.gain
            panel.errorbar(
                100 * gain,
                y,
                xerr=[[100 * (gain - low)], [100 * (high - gain)]],
                fmt="o",
                markersize=3.5,
                linewidth=1.2,
                color=COLOURS[place % len(COLOURS)],
                label=row.arm,
            )
    panels[0][0].set_yticks(range(len(settings)), settings)
    shown = {
        label: handle
        for panel in panels[0]
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.6 / height, 1, 1))  # room for two lines of legend
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
    pyplot.close(figure)
