"""Findings as SARIF 2.1.0: what code scanning services and editors' viewers read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradtracer_schemas import RULES, Severity
from gradtracer_server.exceptions import EditError
from gradtracer_server.fingerprint import fingerprint
from gradtracer_server.fixes.proposal import Edits
from gradtracer_server.render.card import confidence, premise_of, sentence
from gradtracer_server.render.escape import clean, inline
from gradtracer_server.render.json import indented
from gradtracer_server.render.text import relative_path
from gradtracer_server.source.notebooks import file_of

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding, FrameAnchor
    from gradtracer_server.fixes.proposal import ProposedFix
    from gradtracer_server.source.position import Range

Record = dict[str, Any]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"
_LEVEL: dict[Severity, str] = {"error": "error", "warning": "warning", "information": "note"}
_REPORTED = frozenset({"current", "outside", "suppressed"})


def sarif(
    findings: Sequence[Finding],
    fixes: Callable[[Finding], Sequence[ProposedFix]],
    state: Callable[[Finding], str] | None = None,
    absent: Sequence[Record] = (),
    complaints: Sequence[str] = (),
) -> str:
    """One log with one run.

    Args:
        findings: those whose source has changed since are left out, suppressed ones are marked.
        fixes: what can be done about a finding.
        state: its `baselineState`; None where there is nothing to compare with.
        absent: `type`, `layer` and `fingerprint` of what the baseline knows and nobody found.
        complaints: what the command has to say about itself.
    """
    reported = [finding for finding in findings if finding.state in _REPORTED]
    types = list(dict.fromkeys([f.diagnosis.type for f in reported] + [a["type"] for a in absent]))
    results = [_result(finding, types, fixes(finding), state) for finding in reported]
    results += [_absent(each, types) for each in absent]
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(types)},
                "automationDetails": {"id": "gradtracer/"},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {_ROOT: {"uri": Path.cwd().as_uri().rstrip("/") + "/"}},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "warning", "message": {"text": clean(text)}}
                            for text in complaints
                        ],
                    }
                ],
                "results": results,
            }
        ],
    }
    return indented(log)


def _driver(types: Sequence[str]) -> Record:
    try:
        number = {"version": version("gradtracer")}
    except PackageNotFoundError:
        number = {}
    return {"name": "GradTracer", **number, "rules": [_rule(type_) for type_ in types]}


def _rule(type_: str) -> Record:
    page = next((rule for rule in RULES.values() if rule.type == type_), None)
    if page is None:
        return {"id": type_, "shortDescription": {"text": type_}}
    parts = (
        ("Looks for", page.looks_for),
        ("Matters", page.matters),
        ("Remedies", page.remedies),
        ("Silent when", page.silent_when),
        ("Source", page.source),
    )
    return {
        "id": type_,
        "name": "".join(word.capitalize() for word in type_.split("_")),
        "shortDescription": {"text": sentence(page.title)},
        "fullDescription": {"text": f"{page.looks_for} {page.matters}"},
        "defaultConfiguration": {"level": "warning"},
        "help": {
            "text": "\n\n".join(f"{heading}: {text}" for heading, text in parts),
            "markdown": "\n\n".join(f"**{heading}.** {text}" for heading, text in parts),
        },
        "properties": {"tags": ["training"]},
    }


def _result(
    finding: Finding,
    types: Sequence[str],
    fixes: Sequence[ProposedFix],
    state: Callable[[Finding], str] | None,
) -> Record:
    diagnosis = finding.diagnosis
    text = " ".join(
        clean(sentence(part))
        for part in (premise_of(diagnosis), diagnosis.implies, diagnosis.action)
        if part.strip()
    )
    record: Record = {
        "ruleId": diagnosis.type,
        "ruleIndex": types.index(diagnosis.type),
        "level": _LEVEL[diagnosis.severity],
        "message": {"text": text, "markdown": inline(text, 2000)},
        "locations": [_location(finding.frames[0] if finding.frames else None, diagnosis.layer)],
        "partialFingerprints": {"gradtracer/v1": fingerprint(diagnosis, finding.run)},
        "properties": {
            "id": diagnosis.id,
            "run": finding.run.id,
            "confidence": diagnosis.confidence,
            "evidence": clean(confidence(diagnosis)),
        },
    }
    if state is not None:
        record["baselineState"] = state(finding)
    if finding.state == "suppressed":
        record["suppressions"] = [{"kind": "inSource"}]
    related = [
        {"id": number, "message": {"text": role}, **_location(frame)}
        for number, (role, frame) in enumerate(_others(finding))
    ]
    if related:
        record["relatedLocations"] = related
    if repairs := [made for fix in fixes if (made := _fix(finding, fix)) is not None]:
        record["fixes"] = repairs
    return record


def _absent(entry: Record, types: Sequence[str]) -> Record:
    return {
        "ruleId": entry["type"],
        "ruleIndex": types.index(entry["type"]),
        "level": "none",
        "message": {"text": clean(f"{entry['layer']}: no longer found.")},
        "locations": [_location(None, entry["layer"])],
        "partialFingerprints": {"gradtracer/v1": entry["fingerprint"]},
        "baselineState": "absent",
    }


def _others(finding: Finding) -> list[tuple[str, FrameAnchor]]:
    frames = [("built here", frame) for frame in finding.frames[1:]]
    frames += [(role, frame) for role, found in finding.related.items() for frame in found]
    return [(role, frame) for role, frame in frames if frame.anchor.focus is not None]


def _location(frame: FrameAnchor | None, layer: str = "") -> Record:
    record: Record = {}
    if frame is not None:
        file, cell = file_of(frame.path)
        place: Record = {"artifactLocation": _artifact(file)}
        focus = frame.anchor.focus
        if focus is not None and cell is None:
            place["region"] = _region(focus)
        elif focus is not None:
            # Regions count in the file, where a cell's lines are strings.
            record["message"] = {"text": f"cell {cell}, line {focus.start.line + 1}"}
        record["physicalLocation"] = place
    if layer:
        record["logicalLocations"] = [{"fullyQualifiedName": clean(layer, 200), "kind": "member"}]
    return record


def _artifact(path: Path) -> Record:
    """By its path below the current folder, so that services find it in their own checkout."""
    relative = relative_path(path)
    if relative.startswith("..") or Path(relative).is_absolute():
        return {"uri": path.absolute().as_uri()}
    from urllib.parse import quote

    return {"uri": quote(relative), "uriBaseId": _ROOT}


def _region(place: Range) -> Record:
    return {
        "startLine": place.start.line + 1,
        "startColumn": place.start.column + 1,
        "endLine": place.end.line + 1,
        "endColumn": place.end.column + 1,
    }


def _fix(finding: Finding, fix: ProposedFix) -> Record | None:
    """The repair; None for one that cannot be made here, for silencing, and in notebooks."""
    if fix.name == "suppress" or fix.disabled_reason is not None:
        return None
    try:
        edits: Edits = fix.edits()
    except EditError:
        return None
    if any(file_of(path)[1] is not None for path in edits):
        return None
    return {
        "description": {"text": clean(sentence(fix.title))},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(path),
                "replacements": [
                    {
                        "deletedRegion": _region(edit.range),
                        "insertedContent": {"text": edit.new_text},
                    }
                    for edit in made
                ],
            }
            for path, made in sorted(edits.items())
        ],
    }
