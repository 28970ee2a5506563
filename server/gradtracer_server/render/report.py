"""The full report of a layer, and the list of runs, as Markdown documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gradtracer_server.render.card import evidence, layer_card, layer_values, run_outcome, verdict
from gradtracer_server.render.change import moment
from gradtracer_server.render.escape import code, inline
from gradtracer_server.render.figures import label, shown, tells_of_the_model
from gradtracer_server.render.markdown import hover_markdown
from gradtracer_server.render.numbers import count, number
from gradtracer_server.render.sparkline import sparkline

if TYPE_CHECKING:
    from gradtracer_schemas import Diagnosis, Evidence
    from gradtracer_server.earlier import EarlierRun
    from gradtracer_server.runs import LayerState, Run

_WIDTH = 32
_INTERVENTIONS = 20


def layer_report(state: LayerState, run: Run, earlier: EarlierRun | None) -> str:
    """Everything known of a layer: its card, each figure over the run, each test, each change."""
    name = state.watched.layer
    diagnoses = [each for each in run.diagnoses.values() if each.layer == name]
    card = layer_card(state, run, [verdict(each) for each in diagnoses], earlier=earlier)
    parts = [f"# {code(name)}", hover_markdown([card])]
    if len(state.history):
        parts += ["## Over the run", _over_the_run(state, earlier)]
    if diagnoses:
        parts += ["## Tests", _tests(diagnoses)]
    interventions = [each for each in run.interventions if each.body.layer == name]
    if interventions:
        lines = [
            f"- step {count(step)}: {inline(made.action)} on {count(made.rows)} rows, "
            f"{count(made.held_out)} held out. {inline(made.reason)}"
            for step, made in ((each.step, each.body) for each in interventions[-_INTERVENTIONS:])
        ]
        parts += ["## Interventions", "\n".join(lines)]
    places = [
        f"- {code(f'{frame.file}:{frame.start_line}', 300)} {code(frame.text)}"
        for frame in state.watched.site.frames
    ]
    if places:
        parts += ["## Built at", "\n".join(places)]
    faults = [each for each in run.faults if each.layer in ("", name)]
    if faults:
        parts += ["## Faults of the probe", "\n".join(f"- {inline(f.message)}" for f in faults)]
    return "\n\n".join(parts) + "\n"


def layer_of(runs: Iterable[Run], run_id: str, layer: str) -> tuple[Run, LayerState] | None:
    """A layer of the run with an id; of the first run that has it where the id is empty."""
    having = (run for run in runs if run_id in ("", run.id) and layer in run.layers)
    return next(((run, run.layers[layer]) for run in having), None)


def runs_report(runs: Iterable[Run]) -> str:
    """A line for each run."""
    lines = ["# Runs", ""]
    for run in runs:
        types = sorted({each.type for each in run.diagnoses.values()})
        told = "; ".join([inline(run_outcome(run)), *types])
        lines.append(f"- {code(run.id)} {moment(run.started_at)}: {told}")
    return "\n".join(lines if len(lines) > 2 else [*lines, "None yet."]) + "\n"


def _over_the_run(state: LayerState, earlier: EarlierRun | None) -> str:
    values, history = layer_values(state), state.history
    before = earlier.layers.get(state.watched.layer) if earlier else None
    then = before.near(state.observed_step or 0)[1] if before else {}
    rows: list[Sequence[str]] = [("Figure", "First", "Now", "Run before", "Way")]
    for name in history.names:
        series = [value for _, value in history.series(name)]
        if not series or (not tells_of_the_model(name) and name not in ("steps", "exposures")):
            continue
        now = values.get(name, series[-1])
        rows.append(
            (
                inline(label(name), 80),
                shown(name, series[0]),
                shown(name, now),
                f"{shown(name, then[name])} ({_delta(now - then[name])})" if name in then else "",
                f"`{sparkline(series, _WIDTH)}`" if len(series) > 1 else "",
            )
        )
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|:--|--:|--:|--:|:--|", *body])


def _tests(diagnoses: Iterable[Diagnosis]) -> str:
    return "\n".join(_test(each, found) for each in diagnoses for found in each.evidence)


def _test(diagnosis: Diagnosis, found: Evidence) -> str:
    unit = f" {inline(found.unit)}" if found.unit else ""
    return (
        f"- {code(diagnosis.type)} {code(found.statistic)} {number(found.value)}{unit}, "
        f"{found.comparison} {number(found.threshold)}{unit} ({inline(evidence(found))})"
    )


def _delta(difference: float) -> str:
    return f"{'+' if difference > 0 else ''}{number(difference)}"
