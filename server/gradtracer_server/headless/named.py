"""What an agent names: a finding by its id, one of its fixes, the findings of a run."""

from __future__ import annotations

from gradtracer_server.exceptions import UsageError
from gradtracer_server.findings import Finding, find
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.headless.nearest import meant
from gradtracer_server.headless.survey import Survey, place
from gradtracer_server.render.escape import clean
from gradtracer_server.runs import Run

WHY_NOT = {
    "outdated": "the source was edited since the run: nothing to fix before it is trained again",
    "suppressed": "a comment in the source silences this finding",
    "gone": "the source that the finding is about is no longer there",
    "outside": "the layer is defined outside these folders: nothing there is edited",
}
"""Why nothing is edited for a finding, by its state."""


def finding_of(seen: Survey, identity: str) -> Finding:
    """The finding of that id, of any run.

    Raises:
        UsageError: there is none; the nearest are named.
    """
    for finding in seen.findings:
        if finding.diagnosis.id == identity:
            return finding
    # An older run may have it, although a newer one speaks for the script.
    for run in seen.book.runs:
        if identity.endswith(f"@{run.id}"):
            for finding in findings_of(seen, run):
                if finding.diagnosis.id == identity:
                    return finding
    ids = [each.diagnosis.id for each in seen.findings]
    hint = meant(identity, ids, "get_diagnoses lists them" if ids else "there are no findings")
    raise UsageError(f"expected the id of a finding, got {identity[:120]!r}; {hint}")


def findings_of(seen: Survey, run: Run) -> list[Finding]:
    """What one run found, on the source as it is now."""
    run.catch_up()
    found = find([run], seen.documents, seen.workspace, seen.disabled)
    return sorted(found, key=place)


def fix_of(seen: Survey, finding: Finding, name: str | None) -> ProposedFix:
    """The named fix, or the preferred one.

    Raises:
        UsageError: the finding has no such fix, or none that can be made here.
    """
    fixes = seen.fixes(finding)
    if name is None:
        able = [each for each in fixes if each.disabled_reason is None and each.name != "suppress"]
        able.sort(key=lambda each: not each.preferred)
        if able:
            return able[0]
        reasons = "; ".join(f"{each.title}: {each.disabled_reason}" for each in fixes[:-1])
        by_hand = clean(finding.diagnosis.action, 300)
        raise UsageError(
            f"no fix can be made here; {reasons or 'only suppress is offered'}. By hand: {by_hand}"
        )
    named = next((each for each in fixes if each.name == name), None)
    if named is None:
        known = [each.name for each in fixes]
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(
            f"expected a fix of this finding, got {name[:80]!r}; {meant(name, known, has)}"
        )
    if named.disabled_reason is not None:
        raise UsageError(f"{named.title}: {named.disabled_reason}")
    return named
