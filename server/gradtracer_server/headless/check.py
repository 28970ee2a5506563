"""`gradtracer check`: what the last runs found, on the lines of the source as it is now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradtracer_server.exceptions import EditError, UsageError
from gradtracer_server.findings import Finding
from gradtracer_server.fingerprint import fingerprint
from gradtracer_server.fixes.application import changes_of
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.headless.baseline import (
    Known,
    known_to_run,
    load_baseline,
    write_baseline,
)
from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import no_runs
from gradtracer_server.headless.selection import chosen
from gradtracer_server.headless.survey import Survey, survey
from gradtracer_server.render import json, text
from gradtracer_server.render.colour import paint_for
from gradtracer_server.source.edits import unified_diff

CheckFormat = Literal["text", "json", "json-lines", "sarif", "github", "markdown", "diff"]

SHOWN = frozenset({"current", "outside"})
"""States of the findings that count."""

_FOR_PEOPLE = frozenset({"text", "github"})


@dataclass(frozen=True, slots=True)
class _Report:
    """What there is to print."""

    seen: Survey
    found: list[Finding]
    """Every finding of the selection, whatever has become of its source."""
    new: list[Finding]
    """Those that count."""
    known: Known | None
    """What they were compared with."""
    held_back: int | None
    """How many would count but are known; None without a comparison."""
    whole: bool
    """Whether all findings were looked at: what is known and not among them is gone."""


def check(
    paths: Sequence[Path],
    *,
    output_format: CheckFormat = "text",
    show_fixes: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    since_run: str | None = None,
    baseline: Path | None = None,
    update_baseline: bool = False,
) -> int:
    """Print the findings; 1 when there are any that are not known before, else 0.

    Raises:
        UsageError: a path, a type, an id, a run or a baseline does not exist.
    """
    if update_baseline and baseline is None:
        raise UsageError("expected --baseline FILE beside --write-baseline, got none")
    seen = survey(paths)
    for complaint in seen.complaints:
        note(f"gradtracer: {complaint}")
    found = chosen(seen.findings, select, ignore)
    known = _known(seen, since_run, None if update_baseline else baseline)
    counting = [finding for finding in found if finding.state in SHOWN]
    if baseline is not None and update_baseline:
        number = write_baseline(baseline, counting)
        note(f"gradtracer: {number} finding{'' if number == 1 else 's'} written to {baseline}")
        return 0
    new = [f for f in counting if known is None or known.state(f) == "new"]
    tell = say if output_format in _FOR_PEOPLE else note
    if not seen.book.runs:
        tell(no_runs(seen.folders))
    for line in text.unreadable_lines(seen.book.runs):
        tell(line)
    held_back = None if known is None else len(counting) - len(new)
    whole = not (paths or select or ignore)
    report = _Report(seen, found, new, known, held_back, whole)
    _print(report, output_format, show_fixes=show_fixes)
    return 1 if new else 0


def _known(seen: Survey, since_run: str | None, baseline: Path | None) -> Known | None:
    if since_run is None and baseline is None:
        return None
    entries = load_baseline(baseline).entries if baseline is not None else {}
    if since_run is not None:
        entries = entries | known_to_run(since_run, seen.book.runs, seen.runs).entries
    return Known(entries)


def _print(report: _Report, output_format: CheckFormat, *, show_fixes: bool) -> None:
    seen = report.seen
    match output_format:
        case "json" | "json-lines":
            known = report.known
            records = [
                json.finding_record(each, seen.fixes(each), known and known.state(each))
                for each in report.found
            ]
            if output_format == "json":
                say(json.document(records))
            elif records:
                say(json.lines(records))
        case "sarif":
            say(_sarif(report))
        case "github":
            from gradtracer_server.render.github import annotation

            for group in text.grouped(report.new):
                say(annotation(group))
            if seen.runs:
                say(text.summary(report.found, seen.runs, report.held_back))
        case "markdown":
            from gradtracer_server.render.job_summary import job_summary

            patches = _patches(seen, report.new)
            say(job_summary(report.new, seen.runs, report.held_back or 0, patches))
        case "diff":
            _say_patches(seen, report.new)
        case "text":
            paint = paint_for(sys.stdout)
            for group in text.grouped(report.new):
                say(text.finding_lines(group, seen.fixes(group[0]) if show_fixes else [], paint))
            if seen.runs:
                say(text.summary(report.found, seen.runs, report.held_back))


def _sarif(report: _Report) -> str:
    from gradtracer_server.render.sarif import sarif

    seen, known = report.seen, report.known
    state: Callable[[Finding], str] | None = None if known is None else known.state
    here = {fingerprint(each.diagnosis, each.run) for each in report.found}
    absent = [
        {"fingerprint": name, **entry}
        for name, entry in (known.entries if known is not None and report.whole else {}).items()
        if name not in here
    ]
    complaints = [str(each) for each in seen.complaints]
    return sarif(report.found, seen.repairs, state, absent, complaints)


def patch_of(seen: Survey, finding: Finding) -> tuple[ProposedFix, str] | None:
    """The first fix that can be made, the preferred one before others, and its unified diff.

    Silencing the finding is no fix of what was found.
    """
    for fix in sorted(seen.repairs(finding), key=lambda fix: not fix.preferred):
        if fix.disabled_reason is not None:
            continue
        try:
            return fix, _diff(seen, fix)
        except EditError as error:
            note(f"gradtracer: {fix.title}: {error}")
    return None


def _diff(seen: Survey, fix: ProposedFix) -> str:
    return "".join(
        unified_diff(text.relative_path(each.path), each.before.decode(), each.after.decode())
        for each in changes_of(fix.edits(), seen.documents)
    )


def _patches(seen: Survey, shown: Sequence[Finding]) -> list[tuple[ProposedFix, str]]:
    """The patches of the findings. One call may watch many layers: their edit is one edit."""
    chosen_fixes = [found for each in shown if (found := patch_of(seen, each)) is not None]
    return list({patch: (fix, patch) for fix, patch in chosen_fixes}.values())


def _say_patches(seen: Survey, shown: Sequence[Finding]) -> None:
    """Patches on standard output, fit for `git apply`; what they are for, on standard error."""
    said: set[str] = set()
    for finding in shown:
        heading = text.heading([finding])
        chosen_fix = patch_of(seen, finding)
        if chosen_fix is None:
            note(f"{heading}: no fix can be made here")
            continue
        fix, patch = chosen_fix
        note(f"{heading}: {fix.title}")
        if patch not in said:
            said.add(patch)
            say(patch.rstrip("\n"))
