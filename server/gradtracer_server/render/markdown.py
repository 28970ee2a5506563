"""A card as markdown for editors that draw it, and as plain text for those that do not."""

from __future__ import annotations

from collections.abc import Sequence

from gradtracer_server.render.card import BEFORE_EDIT, Card, Verdict
from gradtracer_server.render.escape import clean, code, inline, markdown
from gradtracer_server.render.figures import Figure

MAX_CARDS = 5
"""Layers shown in one hover: a list comprehension may build hundreds on one line."""


def hover_markdown(cards: Sequence[Card]) -> str:
    """The cards as markdown, every word of the journal escaped."""
    blocks = [_card_markdown(card) for card in cards[:MAX_CARDS]]
    if more := _more(cards):
        blocks.append(markdown(more))
    return "\n\n---\n\n".join(blocks)


def hover_plain(cards: Sequence[Card]) -> str:
    """The cards as plain text, aligned by spaces."""
    blocks = [_card_plain(card) for card in cards[:MAX_CARDS]]
    if more := _more(cards):
        blocks.append(more)
    return "\n\n".join(blocks)


def _card_markdown(card: Card) -> str:
    blocks = [f"**{code(card.layer)}** {markdown(card.kind)}"]
    if card.outdated:
        blocks.append(f"*{markdown(BEFORE_EDIT)}*")
    if card.figures:
        blocks.append(_table(card.figures))
    if card.trends:
        lines = (f"- {inline(name, 80)} `{row}` {inline(ends)}" for name, row, ends in card.trends)
        blocks.append("\n".join(lines))
    if card.changed:
        blocks.append(markdown(card.changed))
    if card.image[0]:
        blocks.append(f"![{inline(card.image[1])}]({card.image[0]})")
    blocks += [markdown(note) for note in card.notes]
    blocks += [_verdict_markdown(verdict, card) for verdict in card.verdicts]
    blocks.append(f"*{markdown(card.status)}*")
    return "\n\n".join(blocks)


def _table(rows: Sequence[Figure]) -> str:
    """A table whose columns also line up where its source is shown."""
    intervals = any(row.interval for row in rows)
    width = 3 if intervals else 2
    cells = [("Figure", "Value", "95 % interval")[:width]]
    for row in rows:
        texts = (row.label, row.value, row.interval)[:width]
        cells.append(tuple(inline(text, 80) for text in texts))
    sizes = [max(len(line[column]) for line in cells) for column in range(width)]
    rule = "|".join([f":{'-' * (sizes[0] + 1)}", *(f"{'-' * (size + 1)}:" for size in sizes[1:])])
    head, *body = [_row(line, sizes) for line in cells]
    return "\n".join([head, f"|{rule}|", *body])


def _row(cells: Sequence[str], sizes: Sequence[int]) -> str:
    label = cells[0].ljust(sizes[0])
    numbers = [cell.rjust(size) for cell, size in zip(cells[1:], sizes[1:], strict=True)]
    return f"| {' | '.join([label, *numbers])} |"


def _verdict_markdown(verdict: Verdict, card: Card) -> str:
    before = f"*{markdown(BEFORE_EDIT)}* " if verdict.outdated and not card.outdated else ""
    body = " ".join(inline(sentence) for sentence in verdict.sentences)
    blocks = [f"**{inline(verdict.title, 80)}** ({code(verdict.type)}). {before}{body}"]
    if verdict.advice:
        blocks.append("\n".join(f"- {word}: {inline(text)}" for word, text in verdict.advice))
    blocks.append(f"{inline(verdict.confidence)}.")
    return "\n\n".join(blocks)


def _card_plain(card: Card) -> str:
    lines = [f"{clean(card.layer, 120)}: {clean(card.kind)}"]
    if card.outdated:
        lines.append(BEFORE_EDIT)
    if card.figures:
        labels = max(len(clean(row.label, 80)) for row in card.figures)
        values = max(len(clean(row.value, 80)) for row in card.figures)
        for row in card.figures:
            line = f"  {clean(row.label, 80):<{labels}}  {clean(row.value, 80):>{values}}"
            lines.append(line + (f"  ({clean(row.interval, 80)})" if row.interval else ""))
    lines += [f"  {clean(label, 80)} {line} {clean(ends)}" for label, line, ends in card.trends]
    if card.changed:
        lines.append(clean(card.changed))
    lines += [clean(note) for note in card.notes]
    for verdict in card.verdicts:
        before = f"{BEFORE_EDIT} " if verdict.outdated and not card.outdated else ""
        body = " ".join(clean(sentence) for sentence in verdict.sentences)
        lines.append(f"{clean(verdict.title, 80)} ({verdict.type}). {before}{body}")
        lines += [f"- {word}: {clean(text)}" for word, text in verdict.advice]
        lines.append(f"{clean(verdict.confidence)}.")
    lines.append(clean(card.status))
    return "\n".join(lines)


def _more(cards: Sequence[Card]) -> str:
    hidden = len(cards) - MAX_CARDS
    layers = "layer" if hidden == 1 else "layers"
    return f"and {hidden:,} more {layers} defined here" if hidden > 0 else ""
