"""TrainingTracker: the training as a whole, judged on the line that builds the optimizer.

It reads what the user tells of loss and metrics, and what the run's other trackers know, in the
reporting thread; in the training thread it looks at some coordinates of the weights, now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import nn

from gradtracer.analyzers.breaks import first_break
from gradtracer.analyzers.optimizer_facts import TrainedBy
from gradtracer.analyzers.training_figures import TableStart, TrainingFigures
from gradtracer.analyzers.weight_looks import WeightLooks
from gradtracer.callsite import locate_module
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.finding import Finding
from gradtracer.diagnoses.training import TRAINING
from gradtracer.learning_curve import Curve, sense_of_held_out
from gradtracer.roots import unwrapped
from gradtracer.statistics.start_share import StartShare
from gradtracer.stepping import add_watcher, forget_matches, remove_watcher
from gradtracer_schemas import Diagnosis, SourceSite

if TYPE_CHECKING:
    from gradtracer.run import Run


@runtime_checkable
class Trains(Protocol):
    """A tracker whose weights an optimizer trains."""

    name: str

    @property
    def trained_by(self) -> TrainedBy | None:
        """By what; None before the first report that knew it."""
        ...


@runtime_checkable
class Began(Protocol):
    """A tracker of a table that remembers some of its first values."""

    name: str
    layer: nn.Module
    start_share: StartShare | None


class TrainingTracker:
    """Reports on the run it is given; one is enough for each."""

    def __init__(self, run: Run, watch_site: SourceSite) -> None:
        self.run = run
        self.name = run.unique_layer_name("training")
        self._watch_site = watch_site
        self._book: DiagnosisBook | None = None
        self._built = SourceSite()
        self._looks = WeightLooks(run.settings.seed)
        add_watcher(self._looks)
        run.trackers.append(self)

    def observe(self, model: nn.Module) -> None:
        """Look at the weights of `model`, too."""
        self._built = locate_module(unwrapped(model))
        self._looks.observe(model)
        forget_matches()

    def figures(self, *, ended: bool = False) -> TrainingFigures:
        """What is known now; in the reporting thread, as the numbers may lie on a device."""
        main = self._trained_by()
        loss = self.run.told.get("loss")
        starts = self._starts(main)
        return TrainingFigures(
            step=self.run.step,
            total_steps=self.run.total_steps,
            ended=ended,
            optimizer=main.facts if main is not None else None,
            loss=loss.curve("loss") if loss is not None else None,
            not_numbers=loss.not_numbers() if loss is not None else None,
            broke=first_break(list(self.run.trackers)),
            validation=self._validation(),
            starts=tuple(starts),
            trains_more=self._trains_more({each.layer for each in starts}),
            kept=self._looks.kept_gradients(),
            floor=self._looks.read() if loss is not None else None,
        )

    def _trained_by(self) -> TrainedBy | None:
        found = [each.trained_by for each in list(self.run.trackers) if isinstance(each, Trains)]
        return max((each for each in found if each is not None), key=_size, default=None)

    def _validation(self) -> Curve | None:
        for name, told in list(self.run.told.items()):
            higher = sense_of_held_out(name)
            if higher is not None:
                return told.curve(name, higher_is_better=higher)
        return None

    def _starts(self, main: TrainedBy | None) -> list[TableStart]:
        found: list[TableStart] = []
        model = self.run.observed() if self.run.observed is not None else None
        model = unwrapped(model) if isinstance(model, nn.Module) else None
        sites = main.sites if main is not None else None
        for each in list(self.run.trackers):
            if isinstance(each, Began) and isinstance(each, Trains):
                share, by = each.start_share, each.trained_by
                if share is not None and by is not None:
                    named = by.sites is sites and _is_at(model, each.name, each.layer)
                    sparse = bool(getattr(each.layer, "sparse", False))
                    found.append(TableStart(each.name, share, by.facts, named, sparse))
        return found

    def _trains_more(self, tables: set[str]) -> bool:
        return any(
            each.trained_by is not None
            for each in list(self.run.trackers)
            if isinstance(each, Trains) and each.name not in tables
        )

    def publish(self, *, final: bool = False) -> None:
        """Say what changed among the diagnoses; in the run's own thread."""
        # One that was broken off says nothing of how it would have ended.
        ended = final and self.run.outcome in (None, "finished")
        found = self.findings(self.figures(ended=ended))
        related = self._related()
        if self._book is None:
            if not found:
                return
            site = related.get("optimizer", self._watch_site)
            self._book = DiagnosisBook(self.run.id, self.name, site, {})
        self._book.relate(related)
        for event_class, body in self._book.update(found, self.run.step, final=final):
            self.run.emit(event_class, body)

    def _related(self) -> dict[str, SourceSite]:
        main = self._trained_by()
        related = main.sites.related() if main is not None and main.sites is not None else {}
        others = {"watch": self._watch_site, "model": self._built}
        return related | {role: site for role, site in others.items() if site.frames}

    def findings(self, figures: TrainingFigures) -> list[Finding]:
        """What the tests say now, without hysteresis."""
        found = (examine(figures, self.run.settings) for examine in TRAINING)
        return [finding for finding in found if finding is not None]

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Diagnoses that hold in the stream."""
        return self._book.active if self._book is not None else []

    def forget(self) -> None:
        """Become inert: a forked child, which reports nothing."""
        self._looks.close()

    def detach(self) -> None:
        """Stop observing; what is known stays."""
        self._looks.close()
        remove_watcher(self._looks)


def _is_at(model: nn.Module | None, path: str, layer: nn.Module) -> bool:
    try:
        return model is not None and model.get_submodule(path) is layer
    except AttributeError:
        return False


def _size(by: TrainedBy) -> int:
    return by.size
