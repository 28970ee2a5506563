"""Findings and runs as plain text for terminals and logs.

Everything that came from a journal is cleaned of control characters: it must not move a cursor.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradtracer_server.render.card import (
    outcome_sentence,
    premise_of,
    rows_named,
    run_outcome,
    sentence,
    shared_action,
)
from gradtracer_server.render.colour import Paint, plain
from gradtracer_server.render.escape import clean
from gradtracer_server.render.numbers import NAMED, count, listed

if TYPE_CHECKING:
    from gradtracer_schemas import Diagnosis
    from gradtracer_server.findings import Finding
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.runs import Run

_NOT_SHOWN = {
    "outdated": "outdated (the source was edited since: train again)",
    "suppressed": "suppressed",
    "gone": "about source that is no longer there",
}
_UNREADABLE = 3
"""An upgrade leaves many runs behind that cannot be read: they do not bury the findings."""


def relative_path(path: Path) -> str:
    """A path as seen from the current folder, with `/` on every system."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except (OSError, ValueError):
        return str(path)


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one type on one line together: a loop may build many layers there."""
    groups: dict[tuple[Any, ...], list[Finding]] = {}
    for finding in findings:
        key = (finding.path, finding.anchor and finding.anchor.focus, finding.diagnosis.type)
        unplaced = () if finding.path else (finding.run.id, finding.diagnosis.layer)
        groups.setdefault((*key, *unplaced), []).append(finding)
    return list(groups.values())


def heading(group: Sequence[Finding], paint: Paint = plain) -> str:
    """`path:line:col: TYPE layer`."""
    layers = listed([clean(each.diagnosis.layer, 120) for each in group])
    first = group[0].diagnosis
    kind = paint(first.type, first.severity)
    return f"{paint(heading_of(group[0]), 'place')}: {kind} {layers}"


def heading_of(finding: Finding) -> str:
    """`path:line:col`, or that it is outside, or nowhere."""
    if finding.path is None:
        return "outside the workspace" if finding.diagnosis.site.frames else "no line known"
    where = clean(relative_path(finding.path))
    if finding.anchor is None or finding.anchor.focus is None:
        return where
    start = finding.anchor.focus.start
    return f"{where}:{start.line + 1}:{start.column + 1}"


def finding_lines(
    group: Sequence[Finding], fixes: Sequence[ProposedFix] = (), paint: Paint = plain
) -> str:
    """A finding, or several of one type on one line, and what to do about it."""
    diagnoses = [each.diagnosis for each in group]
    action = shared_action(diagnoses)
    if len(group) == 1:
        sure = paint(_sure(diagnoses[0]), "faint")
        lines = [f"{heading(group, paint)}: {_measured(diagnoses[0].premise, diagnoses[0])} {sure}"]
    else:
        lines = [f"{heading(group, paint)}: {count(len(group))} layers, as follows"]
        for each in diagnoses[:NAMED]:
            lines.append(f"    {_measured(premise_of(each), each)} {paint(_sure(each), 'faint')}")
            if action is None:
                lines.append(f"        {clean(sentence(each.action))}")
        if (more := len(group) - NAMED) > 0:
            lines.append(f"    and {count(more)} more layer{'s' if more > 1 else ''}")
    if action is not None:
        lines.append(f"    {clean(sentence(action))}")
    for fix in fixes:
        preferred = " (preferred)" if fix.preferred else ""
        reason = f"; not here: {clean(fix.disabled_reason)}" if fix.disabled_reason else ""
        lines.append(
            f"    {paint(f'fix {fix.name}', 'fix')}{preferred}: {clean(fix.title)}{reason}"
        )
    return "\n".join(lines)


def _measured(premise: str, diagnosis: Diagnosis) -> str:
    rows = rows_named(diagnosis)
    return clean(f"{sentence(premise)} {rows}" if rows else premise)


def summary(findings: Sequence[Finding], runs: Sequence[Run], known: int | None = None) -> str:
    """How many findings there are and are not shown, and the runs they are from.

    `known`: how many of them a baseline holds back; None without one.
    """
    states = Counter(finding.state for finding in findings)
    shown = states["current"] + states["outside"] - (known or 0)
    new = "" if known is None else " new"
    lines = [f"{count(shown) if shown else 'No'}{new} finding{'' if shown == 1 else 's'}."]
    hidden = [f"{count(known)} known before"] if known else []
    hidden += [
        f"{count(states[state])} {what}" for state, what in _NOT_SHOWN.items() if states[state]
    ]
    if hidden:
        lines.append(f"Not shown: {', '.join(hidden)}.")
    for run in runs:
        lines.append(
            f"{clean(run_script(run), 200)}, run {clean(run.id, 80)}: {outcome_sentence(run)}"
        )
        lines += [f"    {trouble}" for trouble in troubles(run)]
    return "\n".join(lines)


def unreadable_line(run: Run) -> str:
    """`run X: written by protocol 2.0: update ...`."""
    return f"run {clean(run.id, 80)}: {clean(run.unreadable)}"


def unreadable_lines(runs: Sequence[Run]) -> list[str]:
    """Which runs cannot be read and why, the newest of them by name."""
    unreadable = [run for run in runs if run.unreadable]
    lines = [unreadable_line(run) for run in unreadable[:_UNREADABLE]]
    if (more := len(unreadable) - _UNREADABLE) > 0:
        lines.append(f"and {count(more)} older run{'s' if more > 1 else ''} that cannot be read")
    return lines


def run_table(runs: Sequence[Run]) -> str:
    """One line for each run: id, status, script, steps, diagnoses; and why it failed."""
    rows = [("run", "status", "script", "steps", "diagnoses")]
    rows += [
        (
            clean(run.id, 80),
            run.status,
            clean(run_script(run), 200),
            count(run.last_step),
            clean(_types(run)) or "none",
        )
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading, *lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    table = [heading]
    for run, line in zip(runs, lines, strict=True):
        table.append(line)
        if run.status == "failed":
            table.append(f"    {run_outcome(run)}")
        if run.unreadable:
            table.append(f"    {clean(run.unreadable)}")
    return "\n".join(table)


def _sure(diagnosis: Diagnosis) -> str:
    deciding = diagnosis.evidence[0]
    test = f", {clean(deciding.test, 120)}" if deciding.test else ""
    return f"[confidence {_confidence(diagnosis.confidence)}{test}]"


def _confidence(value: float) -> str:
    """Two digits, but never a certainty: no test gives one."""
    if value > 0.999:
        return ">0.999"
    return ">0.99" if value >= 0.995 else f"{value:.2f}"


def _types(run: Run) -> str:
    types = Counter(diagnosis.type for diagnosis in run.diagnoses.values())
    return ", ".join(
        type_ if number == 1 else f"{type_} x{number}" for type_, number in sorted(types.items())
    )


def run_script(run: Run) -> str:
    """The script of a run, as seen from the current folder."""
    if run.started is None:
        return "unknown script"
    if run.started.script == "-":
        return "interactive session"
    script = Path(run.started.script)
    if script.is_absolute() and script.is_relative_to(run.started.root):
        return relative_path(run.root / script.relative_to(run.started.root))
    return script.as_posix()


def _told_no_loss(run: Run) -> bool:
    """Whether a training that is over, and not of trees, was silent about how it went."""
    told = run.progress
    over = run.status == "finished" and run.unit == "step"
    return over and told is not None and told.loss is None and not told.metrics


def _told_no_validation(run: Run) -> bool:
    """Whether a boosting that is over evaluated nothing but what it trains on."""
    figures = [layer.observation.values for layer in run.layers.values() if layer.observation]
    over = run.status == "finished" and run.unit == "round"
    return over and bool(figures) and not any("validation" in each for each in figures)


def _unplaced(run: Run) -> list[str]:
    """The layers of a script's model of which no line was recorded."""
    if run.started is None or run.started.script == "-":
        return []
    layers = [layer.watched for layer in run.layers.values() if layer.watched.shape]
    return [clean(each.layer, 120) for each in layers if not each.site.frames]


def troubles(run: Run) -> list[str]:
    """What kept a run from being judged in full, a sentence each."""
    told: list[str] = []
    if not run.layers:
        yet = " yet" if run.status == "live" else ""
        told.append(f"Run {clean(run.id, 80)} watched no layer{yet}: nothing could be found.")
    elif _told_no_loss(run):
        told.append(
            "No loss was told, so that the learning rate and the length of the training were not "
            "judged: call run.log(loss=loss) at each step."
        )
    elif _told_no_validation(run):
        told.append(
            "No metric of held-out examples was told, so that overfitting and the number of rounds "
            "were not judged: pass some that are not trained on, as eval_set of fit, evals of "
            "xgb.train or valid_sets of lgb.train."
        )
    if unplaced := _unplaced(run):
        told.append(
            f"No line is known of {listed(unplaced)}: where layers "
            "are built is recorded from the import of gradtracer on, so import it before that."
        )
    if run.problems:
        many = run.problems > 1
        told.append(
            f"{count(run.problems)} unreadable line{'s' if many else ''} in its journal "
            f"{'were' if many else 'was'} passed over{'; the last' if many else ''}: "
            f"{clean(run.journal.last_problem, 200)}"
        )
    if run.gaps:
        told.append(f"{count(run.gaps)} of its events {'is' if run.gaps == 1 else 'are'} missing.")
    told += [clean(sentence(f"Probe: {fault.message}")) for fault in run.faults]
    return told
