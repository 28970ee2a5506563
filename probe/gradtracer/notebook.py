"""A run as a notebook shows it: how far it is, what is watched, and what holds."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradtracer.run import Run
    from gradtracer_schemas import Diagnosis

_SHOWN = 50


def run_html(run: Run) -> str:
    """A table of the diagnoses that hold; measures nothing, so that showing it costs nothing."""
    found = diagnoses(run)
    state = run.outcome or "running"
    of = f" of {run.total_steps:,}" if run.total_steps else ""
    trackers = len(run.trackers)
    head = (
        f"<b>GradTracer run</b> <code>{_text(run.id)}</code>: {_text(state)}, "
        f"step {run.step:,}{of}, {trackers:,} tracker{'' if trackers == 1 else 's'}"
    )
    if not run.trackers:
        return f"<div>{head}<br>Nothing is watched.</div>"
    if not found:
        return f"<div>{head}<br>No diagnosis holds, as of the last report.</div>"
    rows = "".join(f"<tr>{_cells('td', _row(each))}</tr>" for each in found[:_SHOWN])
    heads = _cells("th", ("layer", "diagnosis", "confidence", "measured", "do"))
    more = f"<br>and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return f"<div>{head}<table><tr>{heads}</tr>{rows}</table>{more}</div>"


def diagnoses(run: Run) -> list[Diagnosis]:
    """The diagnoses that hold in the stream, of every tracker."""
    held: list[Any] = [getattr(tracker, "diagnoses", []) for tracker in run.trackers]
    return [each for several in held for each in several]


def _row(diagnosis: Diagnosis) -> tuple[str, ...]:
    # No test gives certainty.
    confidence = ">0.99" if diagnosis.confidence >= 0.995 else f"{diagnosis.confidence:.2f}"
    return (
        diagnosis.layer,
        diagnosis.type,
        confidence,
        diagnosis.premise,
        diagnosis.action,
    )


def _cells(tag: str, texts: tuple[str, ...]) -> str:
    return "".join(f'<{tag} style="text-align:left">{_text(text)}</{tag}>' for text in texts)


def _text(text: str) -> str:
    return html.escape(text)
