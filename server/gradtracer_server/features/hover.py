"""textDocument/hover: the figures and verdicts of the layers that a statement defines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of
from gradtracer_server.source.position import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradtracer_server.findings import Finding
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.layer_map import PlacedLayer
    from gradtracer_server.render.card import Card, Verdict

_SHOWN_STATES = frozenset({"current", "outdated"})


def hover(ls: GradTracerServer, params: types.HoverParams) -> types.Hover | None:
    """The card of each layer at the cursor; nothing where no layer is defined."""
    path = path_of(params.text_document.uri)
    if ls.session is None or path is None:
        return None
    source = ls.session.documents.get(path)
    if source is None:
        return None
    ls.session.settle()
    position = ls.units.position_from_client(source.lines, params.position)
    placed = ls.session.layers_at(path, position)
    parameters = [] if placed else ls.session.parameters_at(path, position)
    placed += [each.layer for each in parameters]
    findings = ls.session.findings_between(path, Range(position, position))
    if not ls.session.settings.show_outdated:
        placed = [each for each in placed if each.frame.anchor.state != "outdated"]
        findings = [each for each in findings if each.state != "outdated"]
    cards = _cards(ls, placed, findings)
    if not cards:
        return None
    for index, each in enumerate(parameters):
        note = f"{each.name}: the run had {each.measured:g}."
        cards[index] = replace(cards[index], notes=[note, *cards[index].notes])
    anchors = [layer.frame.anchor for layer in placed] + [each.anchor for each in findings]
    place = next(anchor.range for anchor in anchors if anchor is not None)
    if parameters:
        place = parameters[0].range
    return types.Hover(
        contents=_content(ls, cards),
        range=ls.units.range_to_client(source.lines, place) if place is not None else None,
    )


def _cards(
    ls: GradTracerServer, placed: Sequence[PlacedLayer], findings: Sequence[Finding]
) -> list[Card]:
    """A card for each layer, and one for each diagnosis of something that is no watched layer."""
    from gradtracer_server.render.card import Card, layer_card, run_status

    assert ls.session is not None
    settings = ls.session.settings
    theme = settings.theme if settings.can_draw_images and ls.support.markdown_hover else None
    cards: list[Card] = []
    told: set[str] = set()
    for layer in placed:
        name = layer.state.watched.layer
        of_layer = [each for each in findings if each.diagnosis.layer == name]
        told.update(each.diagnosis.id for each in of_layer)
        outdated = layer.frame.anchor.state == "outdated"
        cards.append(
            layer_card(
                layer.state,
                layer.run,
                _verdicts(of_layer),
                earlier=ls.session.earlier(layer.run),
                # A loop builds many layers on one line: more than one image is no hover any more.
                theme=theme if not any(card.image[0] for card in cards) else None,
                outdated=outdated,
            )
        )
    # What a diagnosis speaks of comes first: a loop may build hundreds of layers on one line.
    cards.sort(key=lambda card: not card.verdicts)
    for finding in findings:
        if finding.diagnosis.id not in told and (verdicts := _verdicts([finding])):
            status = run_status(finding.run)
            cards.append(Card(finding.diagnosis.layer, "", status, verdicts=verdicts))
    return cards


def _verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    from gradtracer_server.render.card import verdict

    return [
        verdict(finding.diagnosis, outdated=finding.state == "outdated")
        for finding in findings
        if finding.state in _SHOWN_STATES
    ]


def _content(ls: GradTracerServer, cards: Sequence[Card]) -> types.MarkupContent:
    from gradtracer_server.render.markdown import hover_markdown, hover_plain

    if ls.support.markdown_hover:
        return types.MarkupContent(kind=types.MarkupKind.Markdown, value=hover_markdown(cards))
    return types.MarkupContent(kind=types.MarkupKind.PlainText, value=hover_plain(cards))
