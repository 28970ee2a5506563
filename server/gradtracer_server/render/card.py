"""What there is to say about a layer, before it is markdown or plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from gradtracer_schemas import RULES, Diagnosis, Evidence, LayerWatched
from gradtracer_server.render.change import moment, since_last_run, trends
from gradtracer_server.render.escape import clean
from gradtracer_server.render.figures import Figure, figures
from gradtracer_server.render.intervention import intervention_notes
from gradtracer_server.render.numbers import count, number, p_value, percent, sureness
from gradtracer_server.render.recipe import layer_line

if TYPE_CHECKING:
    from gradtracer_server.earlier import EarlierRun
    from gradtracer_server.render.plots import Theme
    from gradtracer_server.runs import LayerState, Run

BEFORE_EDIT = "Measured before this edit."
"""Stands where the text is no longer the text that ran."""

_SAMPLE = 8
_TRENDS = ("effective_rank", "zombie_rows", "dead_rows", "update_velocity")
"""Whose way over the run is shown, where no verdict asks for another's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One diagnosis as a heading, a paragraph and what to do."""

    type: str
    title: str
    sentences: list[str]
    """What was measured, what it means, and of which rows."""
    confidence: str
    advice: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Each with its word before it: `Do`, `Expect`, `Risk`."""
    outdated: bool = False
    statistic: str = ""
    """What the deciding test is about."""


@dataclass(frozen=True, slots=True)
class Card:
    """A layer, its figures and its verdicts."""

    layer: str
    kind: str
    """Class, shape, dtype, device."""
    status: str
    """How the run stands."""
    outdated: bool = False
    figures: list[Figure] = field(default_factory=list[Figure])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    notes: list[str] = field(default_factory=list[str])
    trends: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Each a label, a sparkline, and its ends in words."""
    changed: str = ""
    """What differs from the run before; empty where there is none."""
    image: tuple[str, str] = ("", "")
    """Plots as a `data:` URI, and the words for them; empty for clients that draw none."""


def layer_card(
    state: LayerState,
    run: Run,
    verdicts: Sequence[Verdict] = (),
    *,
    earlier: EarlierRun | None = None,
    theme: Theme | None = None,
    outdated: bool = False,
) -> Card:
    """The card of a watched layer.

    `earlier`: the run to compare with. `theme`: colours of the plots; None: the client draws none.
    """
    notes: list[str] = []
    if not state.watched.trainable:
        notes.append("Frozen: only its exposure is measured.")
    if state.observation is None:
        notes.append("No figures yet.")
    interventions = (each.body for each in reversed(run.interventions))
    latest = next((made for made in interventions if made.layer == state.watched.layer), None)
    if latest is not None or state.watched.settings.get("auto_fix"):
        notes += intervention_notes(latest)
    if compressed := layer_line(state.watched.layer, run.recipe):
        notes.append(compressed)
    values = layer_values(state)
    wanted = [*(each.statistic for each in verdicts), *_TRENDS]
    return Card(
        layer=state.watched.layer,
        kind=layer_kind(state.watched),
        status=run_status(run, state.observed_step),
        outdated=outdated,
        figures=figures(values),
        verdicts=list(verdicts),
        notes=notes,
        trends=trends(state.history, wanted),
        changed=_changed(state, values, verdicts, earlier),
        image=_image(state, values, theme),
    )


def _changed(
    state: LayerState,
    values: dict[str, float],
    verdicts: Sequence[Verdict],
    earlier: EarlierRun | None,
) -> str:
    if earlier is None or state.observed_step is None:
        return ""
    types = [each.type for each in verdicts]
    step, history = state.observed_step, state.history
    return since_last_run(state.watched.layer, values, step, types, earlier, history)


def _image(state: LayerState, values: dict[str, float], theme: Theme | None) -> tuple[str, str]:
    if theme is None or state.observation is None:
        return "", ""
    from gradtracer_server.render.plots import plots

    return plots(values, state.observation.curves, state.history, theme)


def layer_values(state: LayerState) -> dict[str, float]:
    """The observation's values, with the table's size and the run's step beside them."""
    if state.observation is None:
        return {}
    known: dict[str, float] = dict(zip(("rows", "dim"), state.watched.shape, strict=False))
    if state.observed_step:
        known["run_steps"] = state.observed_step
    return {**known, **state.observation.values}


def rows_named(diagnosis: Diagnosis) -> str:
    """`Rows 7, 12 and 38 more.`: the first of those that it is about; empty without any."""
    if diagnosis.rows is None or not diagnosis.rows.sample:
        return ""
    sample = diagnosis.rows.sample[:_SAMPLE]
    rest = diagnosis.rows.count - len(sample)
    named = ", ".join(str(row) for row in sample)
    more = f" and {count(rest)} more" if rest > 0 else ""
    return f"Row{'' if diagnosis.rows.count == 1 else 's'} {named}{more}."


def verdict(diagnosis: Diagnosis, *, outdated: bool = False) -> Verdict:
    """Premise and implication, then action, effect and risk, and how sure."""
    rule = RULES.get(diagnosis.type)
    sentences = [diagnosis.premise, diagnosis.implies, rows_named(diagnosis)]
    advice = [
        ("Do", diagnosis.action),
        ("Expect", diagnosis.expected_effect),
        ("Risk", diagnosis.risk),
    ]
    return Verdict(
        type=diagnosis.type,
        title=rule.title if rule else diagnosis.type,
        sentences=[sentence(text) for text in sentences if text.strip()],
        confidence=confidence(diagnosis),
        advice=[(word, sentence(text)) for word, text in advice if text.strip()],
        outdated=outdated,
        statistic=diagnosis.evidence[0].statistic,
    )


def confidence(diagnosis: Diagnosis) -> str:
    """`Confidence 97 % (test name, p = 0.003, n = 1,682)`."""
    return f"Confidence {sureness(diagnosis.confidence)} ({evidence(diagnosis.evidence[0])})"


def evidence(finding: Evidence) -> str:
    """The deciding test of a diagnosis with its n."""
    parts = [finding.test] if finding.test else []
    if finding.p_value is not None:
        parts.append(p_value(finding.p_value))
    if finding.interval is not None:
        low, high = finding.interval
        unit = f" {finding.unit}" if finding.unit else ""
        parts.append(
            f"{percent(finding.interval_level)} interval {number(low)} to {number(high)}{unit}"
        )
    parts.append(f"n = {count(finding.n)}")
    return ", ".join(parts)


def run_status(run: Run, observed_step: int | None = None) -> str:
    """`Live: step 1,234 of 5,000, loss 0.231. Figures of step 1,200.`"""
    if run.status == "live":
        text = f"Live: {', '.join([_reached(run), *progress_parts(run)])}."
    else:
        text = f"Run of {moment(run.started_at)}: {outcome_sentence(run)}"
    if observed_step is not None and observed_step != _step(run):
        figures_of = f"Figures of {run.unit} {count(observed_step)}."
        # What the exception says has no end of ours that another sentence could follow.
        text = f"{figures_of} {text}" if _detail(run) else f"{text} {figures_of}"
    return text


def run_outcome(run: Run) -> str:
    """`finished at step 5,000`, `failed with ValueError at step 12 (base.py:18): no such row`."""
    match run.status:
        case "live":
            outcome = "running"
        case "finished":
            outcome = "finished"
        case "interrupted":
            outcome = "interrupted"
        case "failed":
            failure = run.ended.failure if run.ended else None
            outcome = f"failed with {clean(failure.exception, 80)}" if failure else "failed"
        case "vanished":
            outcome = "ended without a goodbye"
        case "unreadable":
            return clean(run.unreadable)
    detail = _detail(run)
    return f"{outcome} at {_reached(run)}{_failure_place(run)}{f': {detail}' if detail else ''}"


def run_failure(run: Run) -> str:
    """`The run of 2025-01-01 12:00 failed here with ValueError at step 12: no such row`."""
    failure = run.ended.failure if run.ended else None
    exception = f" with {clean(failure.exception, 80)}" if failure else ""
    detail = _detail(run)
    return f"The run of {moment(run.started_at)} failed here{exception} at {_reached(run)}" + (
        f": {detail}" if detail else "."
    )


def outcome_sentence(run: Run) -> str:
    """As `run_outcome`, with a full stop unless the words at its end are not ours."""
    return run_outcome(run) + ("" if _detail(run) else ".")


def _detail(run: Run) -> str:
    """Why it ended, in the words of the exception or the signal."""
    if run.ended is None or run.ended.outcome == "finished":
        return ""
    failure = run.ended.failure
    return clean(failure.message if failure else run.ended.reason, 200)


def _failure_place(run: Run) -> str:
    """` (base.py:18)`, where the innermost frame of the user's own code is known."""
    failure = run.ended.failure if run.ended else None
    if failure is None or not failure.file:
        return ""
    name = clean(PurePath(failure.file.replace("\\", "/")).name, 80)
    return f" ({name}:{failure.line})" if failure.line else f" ({name})"


def _step(run: Run) -> int:
    return max(run.step, run.progress.step if run.progress else 0)


def _reached(run: Run) -> str:
    total = run.progress.total_steps if run.progress else None
    return f"{run.unit} {count(_step(run))}" + (f" of {count(total)}" if total else "")


def progress_parts(run: Run) -> list[str]:
    """Loss and speed of a live run."""
    parts: list[str] = []
    if run.progress is not None and run.progress.loss is not None:
        parts.append(f"loss {number(run.progress.loss)}")
    if run.progress is not None and run.progress.steps_per_second:
        parts.append(f"{number(run.progress.steps_per_second)} {run.unit}s/s")
    return parts


def layer_kind(watched: LayerWatched) -> str:
    """`Embedding 1,682 × 64, float32 on cpu`."""
    shape = " × ".join(count(size) for size in watched.shape)
    return " ".join(part for part in (watched.type, shape) if part) + (
        f", {watched.dtype} on {watched.device}" if watched.dtype else ""
    )


def premise_of(diagnosis: Diagnosis) -> str:
    """The premise with the layer that its figures are of, where it does not name it itself."""
    named = rf"(?<![\w.]){re.escape(diagnosis.layer)}(?!\.?\w)"
    if re.search(named, diagnosis.premise):
        return diagnosis.premise
    return f"{clean(diagnosis.layer, 120)}: {diagnosis.premise}"


def shared_action(diagnoses: Sequence[Diagnosis]) -> str | None:
    """What to do about all of them; None where each asks for something else."""
    actions = {each.action for each in diagnoses}
    return actions.pop() if len(actions) == 1 else None


def sentence(text: str) -> str:
    """The text with a full stop, when it ends without one."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
