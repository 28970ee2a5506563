"""Findings as a page of markdown: the summary of a job, or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradtracer_server.render.card import outcome_sentence, premise_of, sentence
from gradtracer_server.render.escape import code, inline, markdown
from gradtracer_server.render.numbers import count, sureness
from gradtracer_server.render.text import heading_of, run_script

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.runs import Run

_HEAD = (
    "| Where | Diagnosis | Layer | Measured | Confidence | Do |",
    "| --- | --- | --- | --- | ---: | --- |",
)


def job_summary(
    shown: Sequence[Finding],
    runs: Sequence[Run],
    known: int = 0,
    patches: Sequence[tuple[ProposedFix, str]] = (),
) -> str:
    """The findings as a table, the runs they are from, and the proposed edits folded away.

    Args:
        shown: the findings to tell of.
        runs: the runs that speak for their scripts.
        known: how many findings a baseline holds back.
        patches: fixes with their unified diffs.
    """
    new = " new" if known else ""
    total = f"{count(len(shown)) if shown else 'No'}{new} finding{'' if len(shown) == 1 else 's'}"
    blocks = [f"## GradTracer: {total}"]
    if shown:
        blocks.append("\n".join([*_HEAD, *map(_row, shown)]))
    if known:
        blocks.append(f"{count(known)} known before.")
    blocks += [
        f"- {code(run_script(run))}, run {code(run.id)}: {inline(outcome_sentence(run))}"
        for run in runs
    ]
    for fix, patch in patches:
        # A fence longer than any within: the patch is the user's text.
        fence = "`" * max(3, _longest(patch) + 1)
        blocks.append(
            f"<details><summary>{markdown(fix.title)}</summary>\n\n"
            f"{fence}diff\n{patch.rstrip()}\n{fence}\n\n</details>"
        )
    return "\n\n".join(blocks)


def _row(finding: Finding) -> str:
    diagnosis = finding.diagnosis
    cells = (
        code(heading_of(finding)),
        code(diagnosis.type),
        code(diagnosis.layer),
        inline(sentence(premise_of(diagnosis))),
        sureness(diagnosis.confidence),
        inline(sentence(diagnosis.action)),
    )
    return f"| {' | '.join(cells)} |"


def _longest(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
