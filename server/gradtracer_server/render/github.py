"""Findings as workflow commands: GitHub shows them on the changed lines of a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradtracer_schemas import Severity
from gradtracer_server.render.card import confidence, premise_of, sentence
from gradtracer_server.render.escape import clean
from gradtracer_server.render.numbers import NAMED, count, listed
from gradtracer_server.render.text import heading_of, relative_path
from gradtracer_server.source.notebooks import file_of

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding

_COMMAND: dict[Severity, str] = {"error": "error", "warning": "warning", "information": "notice"}


def annotation(group: Sequence[Finding]) -> str:
    """One `::warning file=...::message` for findings of one type on one line."""
    first = group[0]
    fields: dict[str, str] = {}
    where = ""
    if first.path is not None:
        file, cell = file_of(first.path)
        fields["file"] = relative_path(file)
        if cell is not None:
            where = f" in {heading_of(first).rpartition('/')[2]}"
        elif first.anchor is not None and first.anchor.focus is not None:
            start, end = first.anchor.focus
            fields["line"], fields["endLine"] = str(start.line + 1), str(end.line + 1)
            # Columns on several lines are refused.
            if start.line == end.line:
                fields["col"], fields["endColumn"] = str(start.column + 1), str(end.column + 1)
    layers = listed([clean(each.diagnosis.layer, 120) for each in group])
    fields["title"] = f"{first.diagnosis.type} {layers}{where}"
    named = ",".join(f"{name}={_property(value)}" for name, value in fields.items())
    return f"::{_COMMAND[first.diagnosis.severity]} {named}::{_text(_message(group))}"


def _message(group: Sequence[Finding]) -> str:
    lines = [
        f"{clean(sentence(premise_of(each.diagnosis)))} {clean(confidence(each.diagnosis))}."
        for each in group[:NAMED]
    ]
    if (more := len(group) - NAMED) > 0:
        lines.append(f"And {count(more)} more layer{'s' if more > 1 else ''}.")
    actions = dict.fromkeys(each.diagnosis.action for each in group[:NAMED])
    return "\n".join([*lines, *(clean(sentence(action)) for action in actions)])


def _text(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _text(text).replace(":", "%3A").replace(",", "%2C")
