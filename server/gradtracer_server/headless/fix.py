"""`gradtracer fix`: makes the proposed edits, the safe ones unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradtracer_server.exceptions import EditError, UsageError
from gradtracer_server.findings import Finding
from gradtracer_server.fixes.application import Change, changes_of
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.fixes.registry import FIXES
from gradtracer_server.fixes.safety import is_safe
from gradtracer_server.headless.check import SHOWN
from gradtracer_server.headless.nearest import meant
from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import no_runs
from gradtracer_server.headless.selection import chosen
from gradtracer_server.headless.survey import Survey, survey
from gradtracer_server.render import text
from gradtracer_server.render.numbers import count
from gradtracer_server.source.edits import unified_diff

_SUPPRESS = "suppress"


@dataclass(slots=True)
class _Plan:
    """The edits of several fixes, each worked out on the text that those before it leave."""

    made: list[tuple[str, ProposedFix]] = field(default_factory=list["tuple[str, ProposedFix]"])
    """With the heading of the finding that each serves."""
    left: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Headings of findings that stay, and why."""
    changes: dict[Path, Change] = field(default_factory=dict[Path, Change])


def fix(
    paths: Sequence[Path],
    *,
    diff: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    unsafe: bool = False,
    only: str | None = None,
) -> int:
    """Make the edits, or print them; 1 when findings are left or edits are only shown, else 0.

    `only`: the fix to make, for all findings that offer it.

    Raises:
        UsageError: a path, a type, an id or a fix does not exist; or a file changed meanwhile.
    """
    if only is not None and only not in FIXES:
        hint = meant(only, FIXES, "`gradtracer check --show-fixes` lists them")
        raise UsageError(f"expected the name of a fix, got {only[:80]!r}; {hint}")
    seen = survey(paths, attach=True)
    for complaint in seen.complaints:
        note(f"gradtracer: {complaint}")
    if not seen.book.runs:
        note(no_runs(seen.folders))
        return 0
    plan = _plan(seen, select, ignore, unsafe=unsafe, only=only)
    if diff:
        for path, change in plan.changes.items():
            before, after = change.before.decode("utf-8"), change.after.decode("utf-8")
            say(unified_diff(text.relative_path(path), before, after).rstrip("\n"))
    elif plan.changes:
        outcome = seen.apply(list(plan.changes.values()), label="GradTracer")
        if outcome.state != "applied":
            raise UsageError(f"nothing was edited: {outcome.reason}; run it again")
        if outcome.reason:
            note(f"gradtracer: {outcome.reason}")
    _tell(plan, diff=diff)
    return 1 if plan.left or (diff and plan.changes) else 0


def _plan(
    seen: Survey, select: Sequence[str], ignore: Sequence[str], *, unsafe: bool, only: str | None
) -> _Plan:
    plan = _Plan()
    wanted = [each for each in chosen(seen.findings, select, ignore) if each.state in SHOWN]
    ids = list(dict.fromkeys(each.diagnosis.id for each in wanted))
    for identity in ids:
        # By the text that the edits before leave: one edit may serve many findings.
        seen = seen.again() if plan.changes else seen
        finding = next((f for f in seen.findings if f.diagnosis.id == identity), None)
        if finding is None or finding.state not in SHOWN:
            continue
        heading = text.heading([finding])
        reason = _make(plan, seen, finding, heading, unsafe=unsafe, only=only)
        if reason:
            plan.left.append((heading, reason))
    return plan


def _make(
    plan: _Plan, seen: Survey, finding: Finding, heading: str, *, unsafe: bool, only: str | None
) -> str:
    """Add the first fix that can be made; why there is none, or nothing."""
    fixes = [f for f in seen.fixes(finding) if f.name == (only or f.name)]
    if only != _SUPPRESS:
        fixes = [f for f in fixes if f.name != _SUPPRESS]
    reasons: list[str] = []
    for each in sorted(fixes, key=lambda f: not f.preferred):
        if each.disabled_reason is not None:
            reasons.append(f"{each.title}: {each.disabled_reason}")
        elif not (is_safe(each) or unsafe):
            reasons.append(f"{each.title}: not without --unsafe, the model would be another")
        else:
            try:
                changes = changes_of(each.edits(), seen.documents)
            except EditError as error:
                reasons.append(f"{each.title}: {error}")
                continue
            for change in changes:
                first = plan.changes.get(change.path, change)
                plan.changes[change.path] = Change(change.path, first.before, change.after)
                seen.documents.take(change.path, change.after.decode("utf-8"))
            plan.made.append((heading, each))
            return ""
    return "; ".join(reasons) or "no fix is known for it"


def _tell(plan: _Plan, *, diff: bool) -> None:
    tell = note if diff else say
    for heading, each in plan.made:
        tell(f"{heading}: {each.title}")
    for heading, reason in plan.left:
        tell(f"{heading}: left: {reason}")
    if not (plan.made or plan.left):
        tell("Nothing to fix.")
        return
    files = len(plan.changes)
    done = f"{count(len(plan.made))} fix{'' if len(plan.made) == 1 else 'es'}"
    where = f" in {count(files)} file{'' if files == 1 else 's'}" if files else ""
    left = f", {count(len(plan.left))} left" if plan.left else ""
    tell(f"{done} {'proposed' if diff else 'made'}{where}{left}.")
    if plan.made and not diff:
        tell("Train again to see whether they helped.")
