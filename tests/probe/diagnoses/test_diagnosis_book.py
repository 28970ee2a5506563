"""Hysteresis: two reports to raise, two to clear, silence while nothing material changes."""

from __future__ import annotations

from gradtracer.diagnoses.book import Change, DiagnosisBook
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer_schemas import (
    Diagnosis,
    DiagnosisCleared,
    DiagnosisType,
    Evidence,
    Severity,
    SourceSite,
)


def book() -> DiagnosisBook:
    return DiagnosisBook("run-1", "item_emb", SourceSite(), {"watch": SourceSite()})


def finding(
    value: float = 0.9,
    kind: DiagnosisType = "POPULARITY_BIAS",
    *,
    severity: Severity = "information",
    action: str = "Act.",
    confidence: float = 0.97,
) -> Finding:
    return Finding(
        type=kind,
        severity=severity,
        confidence=confidence,
        premise="Premise.",
        implies="Implication.",
        action=action,
        expected_effect="Effect.",
        evidence=[
            Evidence(
                statistic="gini",
                value=value,
                threshold=0.757,
                comparison="above",
                n=100,
                interval=(value - 0.01, value + 0.01),
            )
        ],
        fixes=[suppress()],
    )


def kinds(changes: list[Change]) -> list[str]:
    return [event.__name__.removeprefix("Diagnosis").removesuffix("Event") for event, _ in changes]


def test_one_report_raises_nothing_and_the_second_does() -> None:
    made = book()
    assert made.update([finding()], 10) == []
    assert made.active == []
    ((_, raised),) = made.update([finding()], 20)
    assert isinstance(raised, Diagnosis)
    assert raised.id == "POPULARITY_BIAS:item_emb@run-1"
    assert (raised.layer, raised.first_step, list(raised.related)) == ("item_emb", 20, ["watch"])
    assert made.active == [raised]


def test_a_report_without_it_starts_the_count_anew() -> None:
    made = book()
    for _ in range(4):
        assert made.update([finding()], 1) == []
        assert made.update([], 2) == []


def test_one_report_without_it_clears_nothing_and_the_second_does() -> None:
    made = book()
    made.update([finding()], 1)
    made.update([finding()], 2)
    assert made.update([], 3) == []
    assert len(made.active) == 1
    ((_, cleared),) = made.update([], 4)
    assert isinstance(cleared, DiagnosisCleared)
    assert cleared.id == "POPULARITY_BIAS:item_emb@run-1"
    assert cleared.reason == "gini is no longer above 0.757 by its test"
    assert made.active == []


def test_a_finding_that_comes_back_in_between_stays() -> None:
    made = book()
    made.update([finding()], 1)
    made.update([finding()], 2)
    for step in range(3, 11):
        assert made.update([finding()] if step % 2 else [], step) == []
    assert len(made.active) == 1


def test_after_clearing_it_takes_two_reports_again() -> None:
    made = book()
    for step in (1, 2):
        made.update([finding()], step)
    for step in (3, 4):
        made.update([], step)
    assert kinds(made.update([finding()], 5)) == []
    assert kinds(made.update([finding()], 6)) == ["Raised"]


def test_the_final_report_raises_and_clears_at_once() -> None:
    made = book()
    assert kinds(made.update([finding()], 1, final=True)) == ["Raised"]
    assert kinds(made.update([], 2, final=True)) == ["Cleared"]
    assert made.active == []


def test_the_final_report_says_the_last_figures_even_when_they_hardly_changed() -> None:
    made = book()
    made.update([finding(0.9)], 1)
    made.update([finding(0.9)], 2)
    assert kinds(made.update([finding(0.901)], 3)) == []
    assert kinds(made.update([finding(0.901)], 4, final=True)) == ["Updated"]


def test_only_material_news_is_an_update() -> None:
    made = book()
    made.update([finding(0.80)], 1)
    made.update([finding(0.80)], 2)
    assert made.update([finding(0.81, confidence=0.99)], 3) == []
    assert kinds(made.update([finding(0.83)], 4)) == ["Updated"]
    assert kinds(made.update([finding(0.83, action="Do other.")], 5)) == ["Updated"]
    assert kinds(made.update([finding(0.83, action="Do other.", severity="warning")], 6)) == [
        "Updated"
    ]
    assert made.active[0].first_step == 2


def test_slow_change_adds_up_to_an_update() -> None:
    made = book()
    made.update([finding(0.80)], 1)
    made.update([finding(0.80)], 2)
    seen = [kinds(made.update([finding(0.80 + 0.005 * k)], 2 + k)) for k in range(1, 6)]
    assert seen == [[], [], [], ["Updated"], []]


def test_types_are_counted_apart() -> None:
    made = book()
    made.update([finding()], 1)
    both = [finding(), finding(kind="DEAD_EMBEDDINGS")]
    ((_, raised),) = made.update(both, 2)
    assert isinstance(raised, Diagnosis)
    assert raised.type == "POPULARITY_BIAS"
    ((_, raised),) = made.update(both, 3)
    assert isinstance(raised, Diagnosis)
    assert raised.type == "DEAD_EMBEDDINGS"
