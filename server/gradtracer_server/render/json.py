"""Findings and runs as JSON for programs: plain ASCII, so that no terminal obeys it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gradtracer_server.fingerprint import fingerprint
from gradtracer_server.fixes.safety import is_safe
from gradtracer_server.render.text import relative_path
from gradtracer_server.source.notebooks import file_of

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding, FrameAnchor
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.runs import Run

Record = dict[str, Any]


def document(records: Sequence[Record]) -> str:
    """The list of records."""
    return indented(records)


def indented(value: object) -> str:
    """A value over several lines; the standard library writes such in Python, 27 ms of SARIF."""
    return msgspec.json.format(json.dumps(value, ensure_ascii=True), indent=2)


def lines(records: Sequence[Record]) -> str:
    """A record a line; empty when there is none."""
    return "\n".join(json.dumps(record, ensure_ascii=True) for record in records)


def finding_record(
    finding: Finding, fixes: Sequence[ProposedFix], baseline_state: str | None = None
) -> Record:
    """A finding; lines and columns count from 1, columns in Unicode code points.

    In a notebook they count in a cell, and `cell` is its place among the cells, from 1.

    `baseline_state`: `new` or `unchanged`, where there is something to compare with.
    """
    diagnosis = finding.diagnosis
    first = finding.frames[0] if finding.frames else None
    return {
        "id": diagnosis.id,
        "type": diagnosis.type,
        "layer": diagnosis.layer,
        "severity": diagnosis.severity,
        "confidence": diagnosis.confidence,
        **_place(first),
        "state": finding.state,
        "fingerprint": fingerprint(diagnosis, finding.run),
        "baseline_state": baseline_state,
        "run": finding.run.id,
        "run_status": finding.run.status,
        "failure": _failure(finding.run),
        "premise": diagnosis.premise,
        "implies": diagnosis.implies,
        "action": diagnosis.action,
        "expected_effect": diagnosis.expected_effect,
        "risk": diagnosis.risk,
        "evidence": msgspec.to_builtins(diagnosis.evidence),
        "rows": msgspec.to_builtins(diagnosis.rows),
        "fixes": [
            {
                "name": fix.name,
                "title": fix.title,
                "preferred": fix.preferred,
                "safe": is_safe(fix),
                "disabled_reason": fix.disabled_reason,
            }
            for fix in fixes
        ],
        "related": [
            {"role": role, **_place(frame), "state": frame.anchor.state}
            for role, frames in (("site", finding.frames[1:]), *finding.related.items())
            for frame in frames
        ],
    }


def run_record(run: Run) -> Record:
    """A run and the diagnoses that hold in it."""
    return {
        "id": run.id,
        "status": run.status,
        "script": run.started.script if run.started else None,
        "argv": run.started.argv if run.started else [],
        "folder": str(run.folder),
        "started": run.started_at,
        "ended": run.ended_at,
        "reason": run.ended.reason if run.ended else "",
        "failure": _failure(run),
        "steps": run.last_step,
        "total_steps": run.progress.total_steps if run.progress else None,
        "layers": len(run.layers),
        "diagnoses": sorted(run.diagnoses),
        "unreadable": run.unreadable,
        "unreadable_lines": run.problems,
        "missing_events": run.gaps,
    }


def _failure(run: Run) -> Record | None:
    """The exception that ended a run: `exception`, `message`, `file`, `line`."""
    failure = run.ended.failure if run.ended else None
    if failure is None:
        return None
    return {name: getattr(failure, name) for name in ("exception", "message", "file", "line")}


def _place(frame: FrameAnchor | None) -> Record:
    focus = frame.anchor.focus if frame is not None else None
    file, cell = file_of(frame.path) if frame is not None else (None, None)
    return {
        "path": relative_path(file) if file is not None else None,
        **({} if cell is None else {"cell": cell}),
        "line": focus.start.line + 1 if focus else None,
        "column": focus.start.column + 1 if focus else None,
        "end_line": focus.end.line + 1 if focus else None,
        "end_column": focus.end.column + 1 if focus else None,
    }
