"""`gradtracer check`: what the last runs found, on the lines of the source as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gradtracer_server.exceptions import EditError
from gradtracer_server.findings import Finding
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import no_runs
from gradtracer_server.headless.survey import Survey, survey
from gradtracer_server.render import json, text
from gradtracer_server.source.edits import apply_edits, unified_diff

CheckFormat = Literal["text", "json", "diff"]

_SHOWN = frozenset({"current", "outside"})


def check(
    paths: Sequence[Path], *, output_format: CheckFormat = "text", show_fixes: bool = False
) -> int:
    """Print the findings; 1 when there are any, else 0.

    Raises:
        UsageError: a path does not exist.
    """
    seen = survey(paths)
    for complaint in seen.complaints:
        note(f"gradtracer: {complaint}")
    shown = [finding for finding in seen.findings if finding.state in _SHOWN]
    if not seen.book.runs:
        (say if output_format == "text" else note)(no_runs(seen.folders))
    for line in text.unreadable_lines(seen.book.runs):
        (say if output_format == "text" else note)(line)
    match output_format:
        case "json":
            records = [json.finding_record(each, seen.fixes(each)) for each in seen.findings]
            say(json.document(records))
        case "diff":
            _say_patches(seen, shown)
        case "text":
            _say_findings(seen, shown, show_fixes=show_fixes)
    return 1 if shown else 0


def patch_of(seen: Survey, finding: Finding) -> tuple[ProposedFix, str] | None:
    """The first fix that can be made, the preferred one before others, and its unified diff.

    Silencing the finding is no fix of what was found.
    """
    proposed = [fix for fix in seen.fixes(finding) if fix.name != "suppress"]
    for fix in sorted(proposed, key=lambda fix: not fix.preferred):
        if fix.disabled_reason is not None:
            continue
        try:
            return fix, _diff(seen, fix)
        except EditError as error:
            note(f"gradtracer: {fix.title}: {error}")
    return None


def _diff(seen: Survey, fix: ProposedFix) -> str:
    parts: list[str] = []
    for path, edits in sorted(fix.edits().items()):
        source = seen.documents.get(path)
        if source is not None:
            after = apply_edits(source.text, edits)
            parts.append(unified_diff(text.relative_path(path), source.text, after))
    return "".join(parts)


def _say_findings(seen: Survey, shown: list[Finding], *, show_fixes: bool) -> None:
    for group in text.grouped(shown):
        fixes = seen.fixes(group[0]) if show_fixes else []
        say(text.finding_lines(group, fixes))
    if seen.runs:
        say(text.summary(seen.findings, seen.runs))


def _say_patches(seen: Survey, shown: list[Finding]) -> None:
    """Patches on standard output, fit for `git apply`; what they are for, on standard error."""
    said: set[str] = set()
    for finding in shown:
        heading = text.heading([finding])
        chosen = patch_of(seen, finding)
        if chosen is None:
            note(f"{heading}: no fix can be made here")
            continue
        fix, patch = chosen
        note(f"{heading}: {fix.title}")
        # One call may watch many layers: the edit that helps them all is one edit.
        if patch not in said:
            said.add(patch)
            say(patch.rstrip("\n"))
