"""What is said of a model's layers: their figures and diagnoses, report by report.

In the reporting thread, or when the user asks.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import torch

from gradtracer.analyzers.layer_assignment import LayerAssignment
from gradtracer.analyzers.layer_figures import LayerFigures, measure, observation
from gradtracer.analyzers.layer_modules import Layer
from gradtracer.analyzers.layer_observer import Snapshot
from gradtracer.analyzers.model_layers import with_model
from gradtracer.analyzers.saturation_observer import SaturationObserver
from gradtracer.analyzers.standing import Standing
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.finding import Finding
from gradtracer.diagnoses.layers import LAYER
from gradtracer.diagnoses.stagnation import unheld
from gradtracer.unregistered import Holder
from gradtracer_schemas import Diagnosis, ObservationEvent, SourceSite

if TYPE_CHECKING:
    from gradtracer.run import Run


class ReportedLayer(NamedTuple):
    """One layer under observation."""

    name: str
    site: SourceSite
    book: DiagnosisBook


class LayerReports:
    """Reports on `layers`, whose observers are in `assignment` and `saturation`."""

    def __init__(
        self,
        run: Run,
        layers: dict[Layer, ReportedLayer],
        assignment: LayerAssignment,
        saturation: SaturationObserver,
        kept_in: Holder | None,
    ) -> None:
        self._kept_in = kept_in
        self._run, self._layers, self._assignment = run, layers, assignment
        self._saturation = saturation
        self._measuring = threading.Lock()
        self._steps: dict[str, int] = {}
        """Followed steps of each layer at its last report."""
        self._seen: list[Snapshot] = []
        self._standing = {
            layer: Standing(layer.weights[0], run.step) for layer in layers if layer.weights
        }

    def figures(self) -> list[LayerFigures]:
        """Measure everything now; waits for the device. To be called where the training is."""
        with torch.no_grad():
            for observer in self._assignment.all:
                observer.publish(self._run.step)
        return self._measure([observer.snapshot() for observer in self._assignment.all])

    def first_nonfinite(self, *, now: bool) -> int:
        """The run's step at which a layer's gradient first was not finite; -1 for none.

        As far as reported; up to `now` where it is asked for where the training is.
        """
        steps = [-1]
        with torch.no_grad():
            for observer in self._assignment.all:
                if now:
                    observer.publish(self._run.step)
                first_bad = observer.snapshot().first_bad
                steps += first_bad.tolist() if first_bad is not None else []
        return min((step for step in steps if step >= 0), default=-1)

    def _measure(self, snapshots: list[Snapshot]) -> list[LayerFigures]:
        names = {layer: reported.name for layer, reported in self._layers.items()}
        limit = self._run.settings.saturated_slope
        with self._measuring, torch.no_grad():
            found = {
                figures.layer: figures
                for snapshot in snapshots
                for figures in measure(snapshot, names, self._assignment.facts)
            }
            for layer, passed in self._saturation.read(limit).items():
                if names[layer] in found:
                    found[names[layer]] = found[names[layer]]._replace(saturation=passed)
        ordered = [found[name] for name in names.values() if name in found]
        return with_model(ordered, self._run.settings.vanishing_ratio)

    def publish(self, related: dict[str, SourceSite], *, final: bool) -> None:
        """Stream the figures of new bursts, and say what changed among the diagnoses.

        `related` are the places that belong to the training as a whole.
        """
        self._publish_unheld(final=final)
        snapshots = [observer.snapshot() for observer in self._assignment.all]
        if final:
            figures = self.figures()
        elif all(any(new is old for old in self._seen) for new in snapshots):
            return
        else:
            figures = self._measure(snapshots)
        self._seen = snapshots
        for reported in self._layers.values():
            reported.book.relate(related)
        books = {reported.name: reported.book for reported in self._layers.values()}
        for each in figures:
            news = self._steps.get(each.layer) != each.steps
            self._steps[each.layer] = each.steps
            if news:
                self._run.emit(ObservationEvent, observation(each))
            if news or final:
                found = self._examine(each)
                changes = books[each.layer].update(found, self._run.step, final=final)
                for event_class, body in changes:
                    self._run.emit(event_class, body)

    def _publish_unheld(self, *, final: bool) -> None:
        """Say of which layers no optimizer has stepped on the weights."""
        taken = {layer for observer in self._assignment.all for layer in observer.layers}
        for layer in self._layers.keys() - taken - self._assignment.facts.keys():
            weights, standing = layer.weights, self._standing.get(layer)
            if not weights or standing is None:
                continue
            found = unheld(standing.steps(weights[0], self._run.step), self._kept_in)
            book = self._layers[layer].book
            changes = book.update([] if found is None else [found], self._run.step, final=final)
            for event_class, body in changes:
                self._run.emit(event_class, body)

    def _examine(self, figures: LayerFigures) -> list[Finding]:
        if not figures.trainable:
            return []
        found = (examine(figures, self._run.settings) for examine in LAYER)
        return [finding for finding in found if finding is not None]

    def findings(self, figures: list[LayerFigures] | None) -> dict[str, list[Finding]]:
        """What the tests say now, by layer, without hysteresis; layers without a word left out."""
        figures = self.figures() if figures is None else figures
        found = {each.layer: self._examine(each) for each in figures}
        return {layer: findings for layer, findings in found.items() if findings}

    def diagnose(self, figures: list[LayerFigures]) -> dict[str, list[Diagnosis]]:
        """`findings` as the stream would carry them, with ids and places."""
        found = self.findings(figures)
        return {
            reported.name: reported.book.preview(found[reported.name], self._run.step)
            for reported in self._layers.values()
            if reported.name in found
        }

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Diagnoses that hold in the stream."""
        return [found for reported in self._layers.values() for found in reported.book.active]
