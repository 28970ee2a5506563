"""What a tracker, or every tracker of a run, has to say now, as flat names and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gradtracer.diagnoses.finding import Finding
from gradtracer.exceptions import NothingToWatch
from gradtracer.run import Run

if TYPE_CHECKING:
    from gradtracer.analyzers.embedding import EmbeddingTracker
    from gradtracer.analyzers.flow import FlowTracker
    from gradtracer.analyzers.manager import FlowManager
    from gradtracer.analyzers.trees import TreeDynamicsTracker

    Watched = EmbeddingTracker | FlowTracker | FlowManager | TreeDynamicsTracker | Run

PREFIX = "gradtracer"
COLUMNS = ("layer", "type", "severity", "confidence", "premise", "action", "evidence")
"""Of a row for each finding."""


class Reading(NamedTuple):
    """Numbers and findings of one moment."""

    scalars: dict[str, float]
    """By `gradtracer/LAYER/STATISTIC`; finite."""
    findings: list[tuple[str, Finding]]
    """With the layer of each; empty when no test rejects."""
    step: int
    """Optimizer steps of the run, or rounds of the ensemble."""

    def rows(self) -> list[list[Any]]:
        """A row of `COLUMNS` for each finding."""
        return [
            [
                layer,
                each.type,
                each.severity,
                each.confidence,
                each.premise,
                each.action,
                _evidence(each),
            ]
            for layer, each in self.findings
        ]


def read(watched: Watched) -> Reading:
    """Measure now: waits for the device, costs as much as a report.

    Raises:
        NothingToWatch: `watched` is neither a tracker nor a run.
    """
    if isinstance(watched, Run):
        parts = [_read_one(each) for each in watched.trackers]
        values = {name: value for part in parts for name, value in part.scalars.items()}
        found = [each for part in parts for each in part.findings]
        return Reading(values, found, watched.step)
    return _read_one(watched)


def _read_one(tracker: Any) -> Reading:
    # By name: to import them would load torch for trees, or the boosters for tables.
    match type(tracker).__name__:
        case "EmbeddingTracker":
            figures = tracker.figures()
            values = {tracker.name: tracker.summary()}
            found = [(tracker.name, each) for each in tracker.findings(figures)]
            step = tracker.run.step
        case "FlowTracker":
            from gradtracer.analyzers.layer_figures import observation

            figures = tracker.figures()
            values = {each.layer: observation(each).values for each in figures}
            found = [
                (layer, each)
                for layer, several in tracker.findings(figures).items()
                for each in several
            ]
            step = tracker.run.step
        case "FlowManager":
            from gradtracer.analyzers.tower_figures import observation as of_tower

            towers = tracker.figures()
            values = {each.tower: of_tower(each, each.tower).values for each in towers}
            found = [
                (tower, each)
                for tower, several in tracker.findings(towers).items()
                for each in several
            ]
            step = tracker.run.step if towers else 0
        case "TrainingTracker":
            # Its figures are those that the user logs: the findings alone are new.
            values = {}
            found = [(tracker.name, each) for each in tracker.findings(tracker.figures())]
            step = tracker.run.step
        case "TreeDynamicsTracker":
            values = {tracker.name: tracker.extract_dynamics()}
            found = [(tracker.name, each) for each in tracker.findings()]
            step = tracker.figures.rounds
        case other:
            raise NothingToWatch(
                f"expected a tracker or a run, got {other}; pass e.g. the result of "
                "gradtracer.watch(model)"
            )
    scalars = {
        f"{PREFIX}/{layer}/{name}": float(value)
        for layer, several in values.items()
        for name, value in several.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    for layer in values:
        scalars[f"{PREFIX}/{layer}/diagnoses"] = float(sum(where == layer for where, _ in found))
    return Reading(scalars, found, step)


def _evidence(finding: Finding) -> str:
    deciding = finding.evidence[0]
    sure = f"p = {deciding.p_value:.2g}" if deciding.p_value is not None else ""
    if deciding.interval is not None:
        low, high = deciding.interval
        sure = f"{deciding.interval_level:.0%} interval {low:.3g} to {high:.3g}"
    return f"{deciding.statistic} {deciding.value:.3g}, {sure}, n = {deciding.n:,}"
