"""textDocument/publishDiagnostics: each current finding on its line, sent only when it changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding, FrameAnchor
    from gradtracer_server.language_server import GradTracerServer

SOURCE = "gradtracer"

_SEVERITY = {
    "error": types.DiagnosticSeverity.Error,
    "warning": types.DiagnosticSeverity.Warning,
    "information": types.DiagnosticSeverity.Information,
}


class DiagnosticPublisher:
    """Remembers what each file was told, and tells it only what is new."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._told: dict[Path, tuple[str, str]] = {}
        """By file: the name it was told under, and what."""
        self._last: Sequence[Finding] | None = None

    def publish(self, findings: Sequence[Finding]) -> None:
        """Make every file show the current findings, and no others."""
        if findings is self._last:
            return
        self._last = findings
        by_path = diagnostics(self._ls, findings)
        for path in sorted(by_path.keys() | self._told.keys()):
            self._tell(path, by_path.get(path, []))

    def _tell(self, path: Path, found: list[types.Diagnostic]) -> None:
        uri, content = self._ls.uri_of(path), repr(found)
        known = self._told.pop(path, None)
        if known is not None and known[0] != uri:
            # The editor has opened the file under another spelling of its name.
            self._send(known[0], None, [])
            known = None
        if known is None and not found:
            return
        if known is None or known[1] != content:
            session = self._ls.session
            self._send(uri, session.documents.version(path) if session else None, found)
        if found:
            self._told[path] = (uri, content)

    def _send(self, uri: str, version: int | None, found: list[types.Diagnostic]) -> None:
        self._ls.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri=uri, diagnostics=found, version=version)
        )


def diagnostics(
    ls: GradTracerServer, findings: Sequence[Finding]
) -> dict[Path, list[types.Diagnostic]]:
    """The diagnostics of each file, in the order of its text.

    Layers that one statement builds in a loop share one diagnostic for each type.
    """
    alike: defaultdict[tuple[Any, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        anchor = finding.anchor
        if finding.state == "current" and anchor is not None and anchor.focus is not None:
            alike[(finding.path, anchor.focus, finding.diagnosis.type)].append(finding)
    found: defaultdict[Path, list[types.Diagnostic]] = defaultdict(list)
    for path, _, _ in sorted(alike):
        found[path] = []
    for key in sorted(alike):
        found[key[0]].append(_diagnostic(ls, alike[key]))
    return dict(found)


def _diagnostic(ls: GradTracerServer, findings: list[Finding]) -> types.Diagnostic:
    findings = sorted(findings, key=lambda each: -each.diagnosis.confidence)
    first = findings[0]
    diagnosis = first.diagnosis
    others = first.frames[1:]
    return types.Diagnostic(
        range=_range(ls, first.frames[0]),
        severity=_SEVERITY[diagnosis.severity],
        code=diagnosis.type,
        source=SOURCE,
        message=_message(findings),
        related_information=_related(ls, others) if ls.support.diagnostic_related else None,
        data={"id": diagnosis.id, "ids": [each.diagnosis.id for each in findings]},
    )


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
    ls: GradTracerServer, frames: Sequence[FrameAnchor]
) -> list[types.DiagnosticRelatedInformation] | None:
    return [
        types.DiagnosticRelatedInformation(
            location=types.Location(uri=ls.uri_of(frame.path), range=_range(ls, frame)),
            message=_built_from(frame.anchor.qualname),
        )
        for frame in frames
        if frame.anchor.focus is not None
    ] or None


def _built_from(qualname: str) -> str:
    from gradtracer_server.render.escape import clean

    return f"built from {'here' if qualname == '<module>' else clean(qualname, 120)}"


def _range(ls: GradTracerServer, frame: FrameAnchor) -> types.Range:
    assert frame.anchor.focus is not None
    return ls.units.range_to_client(frame.source.lines, frame.anchor.focus)
