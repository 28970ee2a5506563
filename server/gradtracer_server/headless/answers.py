"""What an agent reads of runs and findings: few words, few digits, and nothing unclean.

Answers come from journals that anybody may have written, so every text of theirs is cleaned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradtracer_server.findings import Finding
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.fixes.safety import is_safe
from gradtracer_server.render.card import outcome_sentence, premise_of
from gradtracer_server.render.escape import clean
from gradtracer_server.render.text import heading_of, run_script, troubles
from gradtracer_server.runs import Run

Answer = dict[str, Any]


def run_answer(run: Run) -> Answer:
    """A run in a line or two."""
    answer: Answer = {
        "id": run.id,
        "status": run.status,
        "script": clean(run_script(run), 200),
        "step": run.last_step,
        "total": run.progress.total_steps if run.progress else None,
        "seq": run.seq,
        "diagnoses": len(run.diagnoses),
    }
    if run.progress is not None and run.progress.metrics:
        answer["metrics"] = {
            clean(name, 60): short(value) for name, value in list(run.progress.metrics.items())[:8]
        }
    if run.progress is not None and run.progress.loss is not None:
        answer["loss"] = short(run.progress.loss)
    if run.status in {"failed", "vanished", "unreadable"}:
        answer["outcome"] = clean(outcome_sentence(run))
    if told := troubles(run):
        answer["notes"] = told
    return answer


def finding_answer(finding: Finding, fixes: Sequence[ProposedFix]) -> Answer:
    """A finding with the names of its fixes; `suppress` is known to be there."""
    diagnosis = finding.diagnosis
    return {
        "id": diagnosis.id,
        "where": heading_of(finding),
        "state": finding.state,
        "severity": diagnosis.severity,
        "confidence": short(diagnosis.confidence),
        "measured": clean(premise_of(diagnosis), 300),
        "do": clean(diagnosis.action, 300),
        "fixes": [
            {
                "fix": each.name,
                "title": clean(each.title, 160),
                "safe": is_safe(each),
                **({"preferred": True} if each.preferred else {}),
                **({"not_here": clean(each.disabled_reason)} if each.disabled_reason else {}),
            }
            for each in fixes
            if each.name != "suppress"
        ],
    }


def health_of(runs: Sequence[Run], hidden: bool, left_out: int = 0) -> str:
    """Why no finding is shown: `HEALTHY` only where something was looked at.

    `left_out`: how many findings would be shown without a selection.
    """
    unobserved = [run.id for run in runs if not run.layers]
    if unobserved:
        return f"UNKNOWN: run {unobserved[0]} watched no layer, so nothing could be found"
    if any(run.status == "live" and not run.observed for run in runs):
        return "UNKNOWN: the run has no figures yet; call wait_until"
    if left_out:
        others = f"{left_out} finding{'' if left_out == 1 else 's'}"
        return f"NOTHING SELECTED: without select there {'is' if left_out == 1 else 'are'} {others}"
    if hidden:
        return "NOTHING OPEN: the findings are outdated, suppressed or gone; train again to see"
    return "HEALTHY: no test finds anything wrong"


def short(value: float) -> float:
    """Four digits are enough for anybody who reads."""
    return float(f"{value:.4g}")


def cleaned(value: Any) -> Any:
    """Texts and numbers of a nested value, cleaned and shortened."""
    match value:
        case str():
            return clean(value)
        case float():
            return short(value)
        case dict():
            return {clean(str(k), 120): cleaned(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple():
            return [cleaned(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
