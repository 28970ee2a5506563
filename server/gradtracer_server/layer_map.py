"""Which watched layers a place in the text defines, be there a thousand and the text edited."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.findings import FrameAnchor, resolve_site
from gradtracer_server.runs import LayerState, Run
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.workspace import Workspace

MOST_STATEMENTS = 300

_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """A layer of a run, and the statement that defines it now."""

    state: LayerState
    run: Run
    frame: FrameAnchor


_SharedSite = tuple[SourceSite, list[str]]
"""A site, and the layers that were built there: a loop builds many on one line."""


@dataclass(slots=True)
class _Sites:
    """The layers of one run by what their defining statements bind."""

    size: int = 0
    by_bound: dict[str, list[_SharedSite]] = field(default_factory=dict[str, "list[_SharedSite]"])


class LayerMap:
    """Finds layers by the statement under the cursor instead of placing every layer."""

    def __init__(self, documents: Documents, workspace: Workspace) -> None:
        self._documents = documents
        self._workspace = workspace
        self._sites: dict[Path, _Sites] = {}

    def at(self, path: Path, position: Position, runs: Iterable[Run]) -> list[PlacedLayer]:
        """The layers defined by the statement at a position; of each layer the newest run's."""
        source = self._documents.get(path)
        if source is None:
            return []
        return self._defined_by(_text_at(position, source), path, position, runs)

    def between(self, path: Path, place: Range, runs: Iterable[Run]) -> list[list[PlacedLayer]]:
        """The layers of each statement that begins in a range of lines, in the text's order.

        At most `MOST_STATEMENTS` of them: no editor shows more at a time.
        """
        source = self._documents.get(path)
        if source is None:
            return []
        runs = list(runs)
        found: list[list[PlacedLayer]] = []
        for line in range(place.start.line, min(place.end.line + 1, len(source.lines))):
            for statement in source.statements_on(line):
                text = source.bytes_of(statement).decode("utf-8", "replace")
                start = source.range_of(statement.span).start
                if placed := self._defined_by(text, path, start, runs):
                    found.append(placed)
            if len(found) >= MOST_STATEMENTS:
                break
        return found

    def _defined_by(
        self, text: str, path: Path, position: Position, runs: Iterable[Run]
    ) -> list[PlacedLayer]:
        bound = _bound(text)
        placed: dict[str, PlacedLayer] = {}
        for run in runs:
            sites = self._sites_of(run).by_bound
            # A frame whose text was not at hand may stand anywhere.
            for site, layers in [*sites.get(bound, ()), *sites.get("", ())]:
                frame = self._frame_at(site, run, path, position)
                if frame is None:
                    continue
                for layer in layers:
                    placed.setdefault(layer, PlacedLayer(run.layers[layer], run, frame))
        return list(placed.values())

    def _frame_at(
        self, site: SourceSite, run: Run, path: Path, position: Position
    ) -> FrameAnchor | None:
        """The site's first frame in the workspace, when it stands at the position."""
        for frame in resolve_site(site, run, self._documents, self._workspace)[:1]:
            place = frame.anchor.range
            if frame.path == path and place is not None and place.start <= position <= place.end:
                return frame
        return None

    def _sites_of(self, run: Run) -> _Sites:
        sites = self._sites.get(run.folder)
        if sites is None or sites.size != len(run.layers):
            sites = _Sites(len(run.layers))
            alike: defaultdict[tuple[_FrameKey, ...], list[LayerState]] = defaultdict(list)
            for state in run.layers.values():
                alike[tuple(map(_frame_key, state.watched.site.frames))].append(state)
            for states in alike.values():
                site = states[0].watched.site
                layers = [state.watched.layer for state in states]
                for bound in {_bound(frame.text) for frame in site.frames}:
                    sites.by_bound.setdefault(bound, []).append((site, layers))
            self._sites[run.folder] = sites
        return sites


_FrameKey = tuple[str, int, int, str]


def _frame_key(frame: SourceFrame) -> _FrameKey:
    return frame.file, frame.start_line, frame.start_column, frame.text


def _text_at(position: Position, source: SourceText) -> str:
    """The statement at a position; while its syntax is broken, the line."""
    statement = source.statement_at(position)
    if statement is None:
        return source.lines[source.clamp(position).line]
    return source.bytes_of(statement).decode("utf-8", "replace")


def _bound(text: str) -> str:
    """What a statement binds, or the whole of one that binds nothing."""
    target, equals, _ = text.partition("=")
    return _SPACE.sub("", target if equals else text)
