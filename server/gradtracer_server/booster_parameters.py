"""Which parameter of which booster a number in the text sets.

Imports no pygls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gradtracer_schemas import SourceSite
from gradtracer_schemas.booster_parameters import BOOSTER_PARAMETERS
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.findings import resolve_site
from gradtracer_server.fixes.booster_call import training_call
from gradtracer_server.fixes.edit_booster_parameter import settings
from gradtracer_server.fixes.literals import Literal, follow, number
from gradtracer_server.fixes.proposal import Frame
from gradtracer_server.layer_map import PlacedLayer
from gradtracer_server.runs import LayerState, Run
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.workspace import Workspace

_MOST_BOOSTERS = 20
"""Looked at for one position: a search over parameters trains hundreds."""


@dataclass(frozen=True, slots=True)
class PlacedParameter:
    """A number that sets a parameter of a booster."""

    name: str
    measured: float
    """What the run had."""
    layer: PlacedLayer
    range: Range


def parameters_at(
    path: Path,
    position: Position,
    runs: Iterable[Run],
    documents: Documents,
    workspace: Workspace,
) -> list[PlacedParameter]:
    """The parameters that the number at a position sets; of each booster the newest run's."""
    found: dict[tuple[str, str], PlacedParameter] = {}
    for run in runs:
        boosters = [state for state in run.layers.values() if not state.watched.shape]
        for state in boosters[-_MOST_BOOSTERS:]:
            for name, literal in _literals(state, run, documents, workspace):
                place = literal.source.range_of(literal.node)
                if literal.path != path or not place.start <= position <= place.end:
                    continue
                frames = resolve_site(state.watched.site, run, documents, workspace)
                found.setdefault(
                    (state.watched.layer, name),
                    PlacedParameter(
                        name,
                        float(state.watched.settings[name]),
                        PlacedLayer(state, run, frames[0]),
                        place,
                    ),
                )
    return list(found.values())


def _literals(
    state: LayerState, run: Run, documents: Documents, workspace: Workspace
) -> Iterator[tuple[str, Literal]]:
    def frames(site: SourceSite) -> list[Frame]:
        resolved = resolve_site(site, run, documents, workspace)
        return [(each.path, each.source, each.anchor) for each in resolved]

    try:
        call = training_call(state.watched.site, frames)
    except NotApplicable:
        return
    for name, value in state.watched.settings.items():
        if name not in BOOSTER_PARAMETERS or isinstance(value, bool | str):
            continue
        try:
            for expression, place in settings(call, name):
                yield name, follow(expression, replace(place, number=number, wanted=name))
                break
        except NotApplicable:
            continue
