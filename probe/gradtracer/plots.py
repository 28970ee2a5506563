"""Plots of what a tracker measured, by matplotlib, for notebooks and papers.

Each takes an optional `ax`, draws on it or on a new figure, and returns the axes. Colours are told
apart without red and green.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradtracer.exceptions import MissingLibrary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradtracer.analyzers.embedding import EmbeddingTracker
    from gradtracer.analyzers.flow import FlowTracker
    from gradtracer.analyzers.trees import TreeDynamicsTracker

__all__ = ["layer_health", "lorenz", "rounds", "rows_by_state"]

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#b5b5b5"
_LAYERS = 40


def lorenz(tracker: EmbeddingTracker, ax: Axes | None = None) -> Axes:
    """Share of the look-ups that the least used share of the rows seen has, with the Gini."""
    from gradtracer.statistics.gini import lorenz_curve

    figures = tracker.figures()
    axes = _axes(ax)
    curve = lorenz_curve(figures.spectrum)
    share = np.linspace(0.0, 1.0, len(curve)) if curve else np.zeros(0)
    axes.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="equal use")
    if curve:
        axes.plot(share, curve, color=_BLUE, label="look-ups")
        axes.fill_between(share, curve, share, color=_BLUE, alpha=0.15)
    gini = "not known yet" if figures.gini is None else f"{figures.gini.value:.2f}"
    axes.set_title(f"{tracker.name}: Gini {gini}")
    axes.set_xlabel("share of rows seen, least used first")
    axes.set_ylabel("share of look-ups")
    axes.legend(frameon=False)
    return axes


def rows_by_state(tracker: EmbeddingTracker, ax: Axes | None = None) -> Axes:
    """Rows that were tested and are sound, zombies, rows too rare to judge, rows never seen."""
    figures = tracker.figures()
    zombies = int(figures.zombies.rows.size)
    unseen = figures.unseen.unseen
    unknown = min(figures.zombies.unknown, figures.rows - unseen)
    sound = figures.rows - zombies - unknown - unseen
    axes = _axes(ax)
    names = ["sound", "zombie", "too rare to judge", "never seen"]
    counts = [max(sound, 0), zombies, unknown, unseen]
    bars = axes.barh(names, counts, color=[_BLUE, _ORANGE, "#cfcfcf", _GREY])
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(f"{tracker.name}: {figures.rows:,} rows")
    axes.set_xlabel("rows")
    return axes


def layer_health(tracker: FlowTracker, ax: Axes | None = None) -> Axes:
    """Norm of the update over norm of the weights of each layer; those with a finding stand out.

    At most 40 layers: those with a finding first, then by their order in the model.
    """
    from gradtracer.analyzers.layer_figures import observation

    figures = tracker.figures()
    found = tracker.findings(figures)
    ordered = sorted(figures, key=lambda each: not found.get(each.layer))[:_LAYERS]
    ratios = [observation(each).values.get("update_ratio", 0.0) for each in ordered]
    axes = _axes(ax)
    bars = axes.barh(
        [each.layer for each in ordered],
        ratios,
        color=[_ORANGE if found.get(each.layer) else _BLUE for each in ordered],
    )
    types = [", ".join(one.type for one in found.get(each.layer, [])) for each in ordered]
    axes.bar_label(bars, labels=types, padding=3)
    axes.invert_yaxis()
    if any(ratio > 0 for ratio in ratios):
        axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_title(f"{sum(map(bool, found.values()))} of {len(figures)} layers with a finding")
    axes.set_xlabel("update norm / weight norm, per step")
    return axes


def rounds(tracker: TreeDynamicsTracker, ax: Axes | None = None) -> Axes:
    """Leaf velocity over boosting rounds, and the curves of training and validation beside it."""
    figures = tracker.figures
    axes = _axes(ax)
    axes.plot(np.arange(figures.rounds), figures.velocity, color=_BLUE, label="leaf velocity")
    axes.set_xlabel("round")
    axes.set_ylabel("leaf velocity")
    lines = axes.get_lines()
    curves = [each for each in (figures.training, figures.validation) if each is not None]
    if curves:
        beside = axes.twinx()
        for curve, style in zip(curves, ("-", "--"), strict=False):
            (line,) = beside.plot(
                curve.values, style, color=_ORANGE, label=f"{curve.data} {curve.metric}"
            )
            lines = [*lines, line]
        beside.set_ylabel("metric")
    axes.legend(handles=list(lines), frameon=False)
    axes.set_title(f"{tracker.name}: {figures.trees:,} trees in {figures.rounds:,} rounds")
    return axes


def _axes(ax: Axes | None) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingLibrary(
            "matplotlib is not installed: pip install 'gradtracer[plots]'"
        ) from None
    return pyplot.subplots(layout="constrained")[1]
