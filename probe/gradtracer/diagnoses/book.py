"""Which diagnoses of a layer hold: raised, updated and cleared with hysteresis."""

from __future__ import annotations

from collections.abc import Sequence

from gradtracer.diagnoses.finding import Finding
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisCleared,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisType,
    DiagnosisUpdatedEvent,
    Envelope,
    SourceSite,
)

_REPORTS_TO_RAISE = 2
_REPORTS_TO_CLEAR = 2
_MATERIAL = 0.02

Change = tuple[type[Envelope], Diagnosis | DiagnosisCleared]


class DiagnosisBook:
    """Diagnoses of one layer over the reports of a run."""

    def __init__(
        self, run: str, layer: str, site: SourceSite, related: dict[str, SourceSite]
    ) -> None:
        self._run = run
        self._layer = layer
        self._site = site
        self._related = related
        self._present: dict[DiagnosisType, int] = {}
        self._absent: dict[DiagnosisType, int] = {}
        self._active: dict[DiagnosisType, Diagnosis] = {}

    def relate(self, related: dict[str, SourceSite]) -> None:
        """Name other source that later diagnoses rest on, by role."""
        # Never changed in place: diagnoses that hold it wait for another thread.
        self._related = {**self._related, **related}

    @property
    def active(self) -> list[Diagnosis]:
        """Diagnoses that hold now."""
        return list(self._active.values())

    def update(
        self, findings: Sequence[Finding], step: int, *, final: bool = False
    ) -> list[Change]:
        """Take in one report; a `final` one raises and clears at once, as none will follow."""
        changes: list[Change] = []
        found: dict[DiagnosisType, Finding] = {finding.type: finding for finding in findings}
        for kind, finding in found.items():
            self._absent.pop(kind, None)
            self._present[kind] = self._present.get(kind, 0) + 1
            active = self._active.get(kind)
            if active is not None:
                renewed = self._diagnosis(finding, active.first_step)
                if final or _materially_new(active, renewed):
                    self._active[kind] = renewed
                    changes.append((DiagnosisUpdatedEvent, renewed))
            elif final or self._present[kind] >= _REPORTS_TO_RAISE:
                self._active[kind] = self._diagnosis(finding, step)
                changes.append((DiagnosisRaisedEvent, self._active[kind]))
        vanished: list[DiagnosisType] = [kind for kind in self._present if kind not in found]
        for kind in vanished:
            self._absent[kind] = self._absent.get(kind, 0) + 1
            if kind not in self._active:
                del self._present[kind]
            elif final or self._absent[kind] >= _REPORTS_TO_CLEAR:
                del self._present[kind]
                gone = self._active.pop(kind)
                evidence = gone.evidence[0]
                changes.append(
                    (
                        DiagnosisClearedEvent,
                        DiagnosisCleared(
                            id=gone.id,
                            reason=(
                                f"{evidence.statistic} is no longer {evidence.comparison} "
                                f"{evidence.threshold:.4g} by its test"
                            ),
                        ),
                    )
                )
        return changes

    def preview(self, findings: Sequence[Finding], step: int) -> list[Diagnosis]:
        """The findings as diagnoses, without taking them in."""
        return [
            self._diagnosis(finding, active.first_step if active is not None else step)
            for finding in findings
            for active in [self._active.get(finding.type)]
        ]

    def _diagnosis(self, finding: Finding, first_step: int) -> Diagnosis:
        return Diagnosis(
            id=f"{finding.type}:{self._layer}@{self._run}",
            layer=self._layer,
            site=self._site,
            related=self._related,
            first_step=first_step,
            **finding._asdict(),
        )


def _materially_new(old: Diagnosis, new: Diagnosis) -> bool:
    before, after = old.evidence[0], new.evidence[0]
    if abs(after.value - before.value) > _MATERIAL * max(abs(before.value), 1e-12):
        return True
    return (new.severity, new.action, new.fixes) != (old.severity, old.action, old.fixes)
