"""The diagnostics of each file, for both of the ways in which a client gets them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

if TYPE_CHECKING:
    from gradtracer_schemas import Diagnosis
    from gradtracer_server.failures import Failure
    from gradtracer_server.findings import Finding, FrameAnchor
    from gradtracer_server.language_server import GradTracerServer

SOURCE = "gradtracer"
FAILED = "RUN_FAILED"
"""Code of the diagnostic on the line where a run failed; no type of the catalogue."""

_ROLES = {"optimizer": "the optimizer is built here", "step": "the training takes its steps here"}
"""What the other places of a finding are, by role; the `watch` call says nothing of the model,
and the model's own line nothing of its training."""
_OF_UNUSED = frozenset({"DEAD_EMBEDDINGS", "DEAD_NEURONS"})

_SEVERITY = {
    "error": types.DiagnosticSeverity.Error,
    "warning": types.DiagnosticSeverity.Warning,
    "information": types.DiagnosticSeverity.Information,
}


def diagnostics(
    ls: GradTracerServer, findings: Sequence[Finding], failures: Sequence[Failure] = ()
) -> dict[Path, list[types.Diagnostic]]:
    """The diagnostics of each file, in the order of its text.

    Layers that one statement builds in a loop share one diagnostic for each type. Where a run
    failed, its exception comes first.
    """
    alike: defaultdict[tuple[Any, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        anchor = finding.anchor
        if finding.state == "current" and anchor is not None and anchor.focus is not None:
            alike[(finding.path, anchor.focus, finding.diagnosis.type)].append(finding)
    found: defaultdict[Path, list[types.Diagnostic]] = defaultdict(list)
    for failure in failures:
        found[failure.frames[0].path].append(_failure(ls, failure))
    for key in sorted(alike):
        found[key[0]].append(_diagnostic(ls, alike[key]))
    return dict(found)


def _diagnostic(ls: GradTracerServer, findings: list[Finding]) -> types.Diagnostic:
    findings = sorted(findings, key=lambda each: -each.diagnosis.confidence)
    first = findings[0]
    diagnosis = first.diagnosis
    return types.Diagnostic(
        range=_range(ls, first.frames[0]),
        severity=_SEVERITY[diagnosis.severity],
        code=diagnosis.type,
        source=SOURCE,
        message=_message(findings),
        code_description=_page(ls, diagnosis.type),
        tags=_tags(diagnosis) if ls.support.diagnostic_tags else None,
        related_information=_related(ls, first) if ls.support.diagnostic_related else None,
        data={"id": diagnosis.id, "ids": [each.diagnosis.id for each in findings]},
    )


def _failure(ls: GradTracerServer, failure: Failure) -> types.Diagnostic:
    """The exception that ended a run, where it was raised."""
    from gradtracer_server.render.card import run_failure

    first, *others = failure.frames
    related = [_place(ls, each, _called_from(each.anchor.qualname)) for each in others]
    return types.Diagnostic(
        range=_range(ls, first),
        severity=types.DiagnosticSeverity.Error,
        code=FAILED,
        source=SOURCE,
        message=run_failure(failure.run),
        related_information=related or None if ls.support.diagnostic_related else None,
    )


def _page(ls: GradTracerServer, type_: str) -> types.CodeDescription | None:
    """The rule's page, where the client follows such links and is on this machine."""
    if not ls.support.code_description or ls.over_tcp:
        return None
    from gradtracer_server.rule_pages import page_of

    path = page_of(type_)
    return types.CodeDescription(href=path.as_uri()) if path is not None else None


def _tags(diagnosis: Diagnosis) -> list[types.DiagnosticTag] | None:
    """A client fades what is unnecessary: only a layer of which nothing at all is in use."""
    rows = diagnosis.rows
    unused = diagnosis.type in _OF_UNUSED and rows is not None and 0 < rows.of == rows.count
    return [types.DiagnosticTag.Unnecessary] if unused else None


def _message(findings: list[Finding]) -> str:
    """Each layer's premise with its own figures, and what to do."""
    from gradtracer_server.render.card import premise_of, sentence, shared_action
    from gradtracer_server.render.escape import clean
    from gradtracer_server.render.numbers import NAMED, count, listed, sureness

    diagnoses = [each.diagnosis for each in findings]
    action = shared_action(diagnoses)
    alone = len(diagnoses) == 1
    parts: list[str] = []
    for each in diagnoses[:NAMED]:
        sure = f"({sureness(each.confidence)} confident, n = {count(each.evidence[0].n)})"
        parts.append(clean(sentence(premise_of(each))))
        if alone or action is None:
            parts.append(clean(sentence(each.action)))
        parts.append(sure)
    if not alone and action is not None:
        parts.append(clean(sentence(action)))
    if len(diagnoses) > NAMED:
        parts.append(f"Also: {listed([clean(each.layer, 120) for each in diagnoses[NAMED:]])}.")
    return " ".join(parts)


def _related(
    ls: GradTracerServer, finding: Finding
) -> list[types.DiagnosticRelatedInformation] | None:
    """The frames that led to the layer, and the places of the training that its fixes touch."""
    places = [
        _place(ls, frame, _built_from(frame.anchor.qualname))
        for frame in finding.frames[1:]
        if frame.anchor.focus is not None
    ]
    for role, words in _ROLES.items():
        frames = [each for each in finding.related.get(role, ()) if each.anchor.focus is not None]
        places += [_place(ls, frame, words) for frame in frames[:1]]
    return places or None


def _place(
    ls: GradTracerServer, frame: FrameAnchor, words: str
) -> types.DiagnosticRelatedInformation:
    where = types.Location(uri=ls.uri_of(frame.path), range=_range(ls, frame))
    return types.DiagnosticRelatedInformation(location=where, message=words)


def _called_from(qualname: str) -> str:
    from gradtracer_server.render.escape import clean

    return f"called from {'here' if qualname == '<module>' else clean(qualname, 120)}"


def _built_from(qualname: str) -> str:
    from gradtracer_server.render.escape import clean

    return f"built from {'here' if qualname == '<module>' else clean(qualname, 120)}"


def _range(ls: GradTracerServer, frame: FrameAnchor) -> types.Range:
    assert frame.anchor.focus is not None
    return ls.units.range_to_client(frame.source.lines, frame.anchor.focus)
