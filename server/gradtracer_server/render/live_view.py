"""The runs as they train, for a terminal: progress, sparklines, diagnoses. Needs rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gradtracer_schemas import Diagnosis, Severity
from gradtracer_server.render.card import run_outcome, sentence
from gradtracer_server.render.escape import clean
from gradtracer_server.render.figures import label, shown
from gradtracer_server.render.numbers import count, number, percent, sureness
from gradtracer_server.render.sparkline import sparkline
from gradtracer_server.render.text import run_script
from gradtracer_server.runs import LayerState, Run

_LAYERS = 12
_METRICS = 4
_FIGURES = ("effective_rank", "zombie_rows", "gradient_snr", "seen_rows")
_COLOUR: dict[Severity, str] = {"error": "red", "warning": "yellow", "information": "cyan"}


def live_view(runs: Sequence[Run]) -> RenderableType:
    """Every run given, one below the other."""
    if not runs:
        return Text("Waiting for a training to begin.", style="dim")
    return Group(*(_run(run) for run in runs))


def _run(run: Run) -> RenderableType:
    name = Text.assemble(
        (clean(run_script(run), 120), "bold"), (f"  {clean(run.id, 80)}  ", "dim"), _state(run)
    )
    parts: list[RenderableType] = [name, Padding(_progress(run), (0, 0, 0, 2))]
    if run.learning.names:
        parts.append(Padding(_learning(run), (0, 0, 0, 2)))
    if run.layers:
        parts.append(Padding(_layers(run), (1, 0, 0, 2)))
    parts += [
        Padding(_diagnosis(each), (1, 0, 0, 2)) for each in list(run.diagnoses.values())[:_LAYERS]
    ]
    return Group(*parts, Text(""))


def _state(run: Run) -> Text:
    if run.status == "live":
        return Text("live", style="green")
    return Text(run_outcome(run), style="red" if run.status in {"failed", "vanished"} else "")


def _progress(run: Run) -> RenderableType:
    total = run.progress.total_steps if run.progress else None
    reached = f"{run.unit} {count(run.last_step)}"
    line = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = []
    if total:
        cells.append(ProgressBar(total=total, completed=min(run.last_step, total), width=30))
        reached += f" of {count(total)} ({percent(run.last_step / total)})"
    cells.append(Text(reached))
    speed = run.progress.steps_per_second if run.progress else None
    if speed and run.status == "live":
        left = f", {_duration((total - run.last_step) / speed)} left" if total else ""
        cells.append(Text(f"{number(speed)} {run.unit}s/s{left}", style="dim"))
    line.add_row(*cells)
    return line


def _learning(run: Run) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name in run.learning.names[:_METRICS]:
        values = [value for _, value in run.learning.series(name)]
        if values:
            table.add_row(
                Text(clean(name, 40)), Text(sparkline(values), style="cyan"), number(values[-1])
            )
    return table


def _layers(run: Run) -> RenderableType:
    sick = {each.layer for each in run.diagnoses.values()}
    layers = sorted(run.layers.items(), key=lambda item: item[0] not in sick)
    table = Table.grid(padding=(0, 2))
    for name, state in layers[:_LAYERS]:
        table.add_row(Text(clean(name, 40), style="bold"), *_figures(state))
    if (more := len(layers) - _LAYERS) > 0:
        table.add_row(Text(f"and {count(more)} more layers", style="dim"))
    return table


def _figures(state: LayerState) -> list[Text]:
    cells: list[Text] = []
    for name in _FIGURES:
        points = state.history.series(name)
        if points:
            text = f"{label(name)} {shown(name, points[-1][1])} "
            cells.append(Text.assemble(text, (sparkline([v for _, v in points], 8), "cyan")))
    return cells or [Text("no figures yet", style="dim")]


def _diagnosis(diagnosis: Diagnosis) -> RenderableType:
    return Text.assemble(
        (diagnosis.type, _COLOUR[diagnosis.severity]),
        f" {clean(diagnosis.layer, 80)}: {clean(sentence(diagnosis.premise))} ",
        (f"confidence {sureness(diagnosis.confidence)}", "dim"),
        f"\n  {clean(sentence(diagnosis.action))}",
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
