"""`gradtracer runs show`: one run, its layers and their figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradtracer_server.headless.baseline import find_run
from gradtracer_server.headless.output import say
from gradtracer_server.headless.paths import no_runs, run_book
from gradtracer_server.render.card import layer_card, layer_kind, run_status, verdict
from gradtracer_server.render.change import trends
from gradtracer_server.render.escape import clean
from gradtracer_server.render.json import document, run_record
from gradtracer_server.render.markdown import hover_plain
from gradtracer_server.render.numbers import count
from gradtracer_server.render.text import run_script
from gradtracer_server.runs import Run

_CARDS = 30


def runs_show(name: str | None, paths: Sequence[Path], *, output_format: str = "text") -> int:
    """Print a run, the newest without a name; the exit status.

    Raises:
        UsageError: there is no such run.
    """
    book = run_book(paths)
    if name is None and not book.runs:
        say(no_runs(book.roots) if output_format == "text" else "[]")
        return 0
    run = book.runs[0] if name is None else find_run(name, book.runs)
    run.catch_up()
    if output_format == "json":
        say(document([{**run_record(run), "figures": _figures(run)}]))
    else:
        say("\n\n".join([_heading(run), *_cards(run)]))
    return 0


def _figures(run: Run) -> dict[str, Any]:
    return {
        name: {
            "type": state.watched.type,
            "shape": state.watched.shape,
            "step": state.observed_step,
            "values": state.observation.values if state.observation else {},
        }
        for name, state in run.layers.items()
    }


def _heading(run: Run) -> str:
    lines = [f"{clean(run_script(run), 200)}, run {clean(run.id, 80)}", run_status(run)]
    if run.started is not None:
        if run.started.argv:
            lines.append(f"Arguments: {clean(' '.join(run.started.argv))}")
        versions = (f"{name} {number}" for name, number in run.started.versions.items() if number)
        lines.append(f"Versions: {clean(', '.join(versions))}")
    for label, blocks, ends in trends(run.learning, run.learning.names):
        lines.append(f"{clean(label, 80)} {blocks} {clean(ends)}")
    return "\n".join(lines)


def _cards(run: Run) -> list[str]:
    shown: list[str] = []
    for name, state in list(run.layers.items())[:_CARDS]:
        verdicts = [verdict(each) for each in run.diagnoses.values() if each.layer == name]
        card = layer_card(state, run, verdicts)
        # The status is the run's, and stands above all layers.
        plain = hover_plain([dataclasses.replace(card, status="")]).rstrip()
        shown.append(plain if card.figures else f"{clean(name, 120)}: {layer_kind(state.watched)}")
    if (more := len(run.layers) - _CARDS) > 0:
        shown.append(f"and {count(more)} more layers")
    return shown
