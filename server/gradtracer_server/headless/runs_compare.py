"""`gradtracer runs compare`: what differs between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gradtracer_server.exceptions import UsageError
from gradtracer_server.headless.baseline import find_run
from gradtracer_server.headless.output import say
from gradtracer_server.headless.paths import run_book
from gradtracer_server.render.change import NOTABLE
from gradtracer_server.render.escape import clean
from gradtracer_server.render.figures import label, shown, tells_of_the_model
from gradtracer_server.render.json import document
from gradtracer_server.render.numbers import count, number, percent
from gradtracer_server.runbook import RunBook, earlier_runs
from gradtracer_server.runs import Run


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of a layer, or of the training as a whole, in two runs at the same step."""

    layer: str
    """Empty for the loss and the metrics."""
    statistic: str
    before: float
    after: float

    @property
    def share(self) -> float:
        """Of the larger of the two, 0 to 2."""
        size = max(abs(self.before), abs(self.after))
        return abs(self.after - self.before) / size if size else 0.0


def runs_compare(names: Sequence[str], paths: Sequence[Path], *, output_format: str) -> int:
    """Print the differences of two runs, the older first; the exit status.

    Without names the newest run is compared with the one of its script before it, with one name
    that run with the newest.

    Raises:
        UsageError: there is no such run, or there are not two.
    """
    book = run_book(paths)
    if len(names) > 2:
        raise UsageError(f"expected at most two runs, got {len(names)}")
    before, after = _pair(names, book)
    for run in (before, after):
        run.catch_up()
    steps, found = differences(before, after)
    if output_format == "json":
        record = {
            "before": before.id,
            "after": after.id,
            "step": steps,
            "raised": sorted(_kinds(after) - _kinds(before)),
            "cleared": sorted(_kinds(before) - _kinds(after)),
            "differences": [asdict(each) for each in found],
        }
        say(document([record]))
    else:
        say(_text(before, after, steps, found))
    return 0


def differences(before: Run, after: Run) -> tuple[int, list[Difference]]:
    """The last step that both runs reached, and what they measured there; bounds are left out."""
    steps = min(before.last_step, after.last_step)
    pairs = [("", before.learning, after.learning)]
    pairs += [
        (name, before.layers[name].history, state.history)
        for name, state in after.layers.items()
        if name in before.layers
    ]
    found: list[Difference] = []
    for layer, one, other in pairs:
        (_, then), (_, now) = one.at(steps), other.at(steps)
        found += [
            Difference(layer, name, then[name], now[name])
            for name in now
            if name in then and tells_of_the_model(name)
        ]
    return steps, found


def _pair(names: Sequence[str], book: RunBook) -> tuple[Run, Run]:
    readable = [run for run in book.runs if not run.unreadable]
    if len(names) == 2:
        return find_run(names[0], book.runs), find_run(names[1], book.runs)
    if not readable:
        raise UsageError("expected two runs to compare, there is none")
    newest = readable[0]
    if names:
        return find_run(names[0], book.runs), newest
    if before := earlier_runs(newest, readable):
        return before[0], newest
    raise UsageError(f"expected two runs of one script, got {newest.id} alone; name two")


def _kinds(run: Run) -> set[str]:
    return {f"{each.type} {each.layer}" for each in run.diagnoses.values()}


def _text(before: Run, after: Run, steps: int, found: Sequence[Difference]) -> str:
    lines = [f"{clean(before.id, 80)} to {clean(after.id, 80)}, both at step {count(steps)}"]
    if (arguments := [_arguments(run) for run in (before, after)])[0] != arguments[1]:
        lines += [f"    arguments before: {arguments[0]}", f"    arguments after:  {arguments[1]}"]
    for word, kinds in (
        ("raised", _kinds(after) - _kinds(before)),
        ("no longer found", _kinds(before) - _kinds(after)),
        ("in both", _kinds(after) & _kinds(before)),
    ):
        lines += [f"    {word}: {clean(kind, 200)}" for kind in sorted(kinds)]
    notable = [each for each in found if each.share >= NOTABLE]
    for layer in dict.fromkeys(each.layer for each in notable):
        lines.append(clean(layer, 120) or "training")
        rows = [each for each in notable if each.layer == layer]
        names = [clean(label(each.statistic) if layer else each.statistic, 60) for each in rows]
        width = max(map(len, names))
        for name, each in zip(names, rows, strict=True):
            show = (lambda v, s=each.statistic: shown(s, v)) if layer else number  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]
            lines.append(f"    {name:<{width}}  {show(each.before)} to {show(each.after)}")
    alike = len(found) - len(notable)
    if alike:
        lines.append(f"{count(alike)} figures differ by less than {percent(NOTABLE)}.")
    return "\n".join(lines)


def _arguments(run: Run) -> str:
    return clean(" ".join(run.started.argv)) if run.started and run.started.argv else "none"
