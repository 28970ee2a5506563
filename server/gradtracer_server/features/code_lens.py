"""textDocument/codeLens: what was found, above the line of its layer; off until it is asked for.

A lens moves the code below it, so it is the user's choice. All it leads to is a code action and a
hover too.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding
    from gradtracer_server.language_server import GradTracerServer

OPEN_REPORT = "gradtracer.openReport"


def code_lens(ls: GradTracerServer, params: types.CodeLensParams) -> list[types.CodeLens] | None:
    """A lens for each layer with findings; its command opens the layer's report."""
    path = path_of(params.text_document.uri)
    session = ls.session
    if session is None or path is None or not session.settings.code_lens:
        return None
    session.settle()
    by_layer: defaultdict[tuple[int, str, str], list[Finding]] = defaultdict(list)
    for finding in session.findings:
        if finding.path != path or finding.state != "current" or finding.anchor is None:
            continue
        if finding.anchor.focus is not None:
            line = finding.anchor.focus.start.line
            by_layer[line, finding.diagnosis.layer, finding.run.id].append(finding)
    return [
        types.CodeLens(
            range=types.Range(types.Position(line, 0), types.Position(line, 0)),
            command=types.Command(
                title=_title(layer, found), command=OPEN_REPORT, arguments=[layer, run]
            ),
        )
        for (line, layer, run), found in sorted(by_layer.items(), key=lambda item: item[0])
    ] or None


def _title(layer: str, found: list[Finding]) -> str:
    from gradtracer_server.render.escape import clean

    return f"{clean(layer, 60)}: {', '.join(each.diagnosis.type for each in found)}"
