"""Tells a run of its recipe, and of each layer that the recipe makes smaller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.compressible import examine
from gradtracer.run import Run
from gradtracer_schemas import MAX_FRAME_BYTES, LayerRecipe, Recipe, RecipeEvent, SourceSite

_EVENT_BYTES = MAX_FRAME_BYTES // 2
"""Longest recipe that goes into an event whole."""


class Announcer:
    """Of one run; a layer that a later recipe leaves as it is is taken back."""

    def __init__(self, run: Run, trackers: Iterable[Any]) -> None:
        self._run = run
        watch = run.watch_site
        related = {"watch": watch} if watch.frames else {}
        self._books = {
            layer: DiagnosisBook(run.id, layer, site, related)
            for layer, site in _sites(trackers).items()
        }

    def tell(self, recipe: Recipe, examples: int) -> None:
        """Emit the recipe, and what it says of each layer that the run watches.

        Args:
            recipe: What was found.
            examples: How many values its quality is the mean of.
        """
        self._run.emit(RecipeEvent, for_event(recipe))
        for layer, book in self._books.items():
            found = examine(layer, recipe, examples)
            findings = [] if found is None else [found]
            for event_class, body in book.update(findings, self._run.step, final=True):
                self._run.emit(event_class, body)


def for_event(recipe: Recipe) -> Recipe:
    """The recipe, or as much of it as an event can carry."""
    if len(msgspec.json.encode(recipe)) <= _EVENT_BYTES:
        return recipe
    recipe = msgspec.structs.replace(recipe, front=[])
    if len(msgspec.json.encode(recipe)) <= _EVENT_BYTES:
        return recipe
    layers = {name: entry and _without_bitmaps(entry) for name, entry in recipe.layers.items()}
    return msgspec.structs.replace(recipe, layers=layers)


def _without_bitmaps(entry: LayerRecipe) -> LayerRecipe:
    def counted(rows: Any) -> Any:
        return None if rows is None else msgspec.structs.replace(rows, bitmap="")

    return msgspec.structs.replace(
        entry,
        tiers=[msgspec.structs.replace(each, rows=counted(each.rows)) for each in entry.tiers],
        dropped=counted(entry.dropped),
        kept_units=counted(entry.kept_units),
        kept_inputs=counted(entry.kept_inputs),
    )


def _sites(trackers: Iterable[Any]) -> dict[str, SourceSite]:
    """Where each watched layer is defined: of a table by its tracker, of layers by theirs."""
    found: dict[str, SourceSite] = {}
    for tracker in trackers:
        found |= getattr(tracker, "sites", None) or {}
        site = getattr(tracker, "site", None)
        if isinstance(site, SourceSite):
            found[tracker.name] = site
    return found
