"""textDocument/inlayHint: a layer's figures, or a run's progress, at the end of its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.layer_map import PlacedLayer
    from gradtracer_server.source.position import Position


def inlay_hint(ls: GradTracerServer, params: types.InlayHintParams) -> list[types.InlayHint] | None:
    """The hints in a range, each kind where its setting allows it."""
    path = path_of(params.text_document.uri)
    session = ls.session
    if session is None or path is None:
        return None
    source = session.documents.get(path)
    if source is None:
        return None
    session.settle()
    wanted = ls.units.range_from_client(source.lines, params.range)
    texts: dict[Position, tuple[str, str]] = {}
    for placed in session.layers_between(path, wanted):
        place = placed[0].frame.anchor.range
        if place is not None and (text := _of_layers(ls, placed)):
            texts.setdefault(place.end, (text, _about(placed)))
    if session.settings.inlay_hint_progress:
        for place, text, about in _of_runs(ls, path):
            if wanted.start <= place <= wanted.end:
                texts.setdefault(place, (text, about))
    return [
        types.InlayHint(
            position=ls.units.position_to_client(source.lines, place),
            label=text,
            padding_left=True,
            tooltip=about,
        )
        for place, (text, about) in sorted(texts.items())
    ] or None


def _of_layers(ls: GradTracerServer, placed: Sequence[PlacedLayer]) -> str:
    from gradtracer_server.render.hint import OUTDATED, layers_hint

    assert ls.session is not None
    settings = ls.session.settings
    if placed[0].frame.anchor.state == "outdated":
        shown = settings.inlay_hint_outdated and settings.show_outdated
        return OUTDATED if shown else ""
    states = [layer.state for layer in placed]
    # Rounds of a booster are progress, though they stand on what is watched.
    rounds = not states[0].watched.shape
    if not (settings.inlay_hint_progress if rounds else settings.inlay_hint_figures):
        return ""
    return layers_hint(states, placed[0].run)


def _about(placed: Sequence[PlacedLayer]) -> str:
    """Whose figures they are, and when they were measured."""
    from gradtracer_server.render.card import layer_kind, run_status
    from gradtracer_server.render.escape import clean
    from gradtracer_server.render.numbers import listed

    layers = [each.state.watched for each in placed]
    kind = f": {layer_kind(layers[0])}" if len(layers) == 1 else ""
    named = listed([clean(each.layer, 120) for each in layers])
    return f"{named}{kind}\n{run_status(placed[0].run)}"


def _of_runs(ls: GradTracerServer, path: Path) -> Iterator[tuple[Position, str, str]]:
    """The runs that a call in the file began: where, the hint, and what it is about."""
    from gradtracer_server.render.card import run_status
    from gradtracer_server.render.hint import run_hint

    assert ls.session is not None
    for run in ls.session.runs:
        frame = ls.session.watch_frame(run)
        if frame is not None and frame.path == path and frame.anchor.range is not None:
            yield frame.anchor.range.end, run_hint(run), run_status(run)
