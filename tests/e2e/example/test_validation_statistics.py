"""The validation's statistics: against scipy called by hand, and numbers worked on paper."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from validation.significance import compare, gains, holm, pool
from validation.tables import Records, markdown, pooled, rows, summary
from validation.verdicts import answers, others


def draws(seed: int, seeds: int, users: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = rng.random((seeds, users))
    return before, before + shift + 0.05 * rng.normal(size=(seeds, users))


def test_gains_are_those_of_the_rank() -> None:
    ndcg, hit = gains([[0, 1, 9, 10]])
    assert ndcg[0] == pytest.approx([1.0, 1 / math.log2(3), 1 / math.log2(11), 0.0])
    assert hit[0].tolist() == [1, 1, 1, 0]


def test_a_comparison_agrees_with_scipy() -> None:
    before, after = draws(1, 8, 40, 0.02)
    found = compare(before, after)
    a, b = before.mean(axis=1), after.mean(axis=1)
    assert found.p_seeds_t == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert found.p_seeds_wilcoxon == pytest.approx(stats.wilcoxon(b, a).pvalue)
    users = before.mean(axis=0), after.mean(axis=0)
    assert found.p_users_t == pytest.approx(stats.ttest_rel(*users).pvalue)
    assert found.p_users_wilcoxon == pytest.approx(stats.wilcoxon(*users).pvalue)
    assert found.effect == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert found.interval == pytest.approx((low / before.mean(), high / before.mean()))
    assert found.gain == pytest.approx(after.mean() / before.mean() - 1)


def test_pairing_finds_what_two_samples_would_not() -> None:
    before, after = draws(2, 8, 10, 0.01)
    a, b = before.mean(axis=1), after.mean(axis=1)
    assert stats.ttest_ind(b, a).pvalue > 0.5
    assert compare(before, after).p_seeds_t == pytest.approx(stats.ttest_rel(b, a).pvalue)


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_differences_without_spread_are_no_error(shift: float) -> None:
    before = np.ones((4, 6))
    found = compare(before, before + shift)
    assert found.gain == shift
    assert found.interval == (shift, shift)
    assert (found.p_seeds_t == 1.0) == (shift == 0)


@pytest.mark.parametrize("after", [np.ones((3, 6)), np.ones((4, 5))])
def test_unpaired_results_are_refused(after: np.ndarray) -> None:
    with pytest.raises(ValueError, match="paired seeds"):
        compare(np.ones((4, 6)), after)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        compare(np.ones((1, 6)), np.ones((1, 6)))


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04, times 4 3 2 1, then the running maximum.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_rate_of_false_findings() -> None:
    rng = np.random.default_rng(0)
    families = rng.random((2_000, 20))
    wrong = sum(min(holm(family.tolist())) < 0.05 for family in families)
    bare = sum(family.min() < 0.05 for family in families)
    assert stats.binomtest(wrong, 2_000, 0.05, alternative="greater").pvalue > 0.001
    assert bare > 1_000


def test_pooling_averages_relative_gains_of_a_seed_over_models() -> None:
    one, two = draws(3, 6, 30, 0.02), draws(4, 6, 30, 0.0)
    relative = np.mean([(b - a).mean(axis=1) / a.mean() for a, b in (one, two)], axis=0)
    found = pool([one, two])
    assert (found.seeds, found.models) == (6, 2)
    assert found.p_t == pytest.approx(stats.ttest_1samp(relative, 0).pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(relative).pvalue)


def record(ranks: list[int]) -> dict[str, Any]:
    return {"ranks": ranks}


def table(better: int, seeds: int = 10) -> Records:
    """Off at rank 5 and a seed's noise; the arm `better` ranks ahead (negative: behind)."""
    rng = np.random.default_rng(5)
    off = {s: record(rng.integers(3, 8, 50).tolist()) for s in range(seeds)}
    on = {s: record([rank - better for rank in off[s]["ranks"]]) for s in range(seeds)}
    for each in on.values():
        each["notes"] = {"edits": []}
    return {("mf-bce", "adam 1e-2", "off"): off, ("mf-bce", "adam 1e-2", "proposed"): on}


def test_the_goal_is_met_only_by_a_gain_that_is_large_and_sure() -> None:
    for better, word in ((2, "met"), (0, "missed"), (-2, "missed")):
        records = table(better)
        said = [line for line in answers(rows(records), records) if "goal of" in line]
        assert len(said) == 1
        assert said[0].endswith(f"p < .01 {word}.")


def test_harm_is_named_with_its_setting() -> None:
    records = table(-2)
    (said,) = [line for line in others(rows(records)) if line.startswith("proposed:")]
    assert "significantly below off 1 (mf-bce, adam 1e-2)" in said
    records = table(0)
    (said,) = [line for line in others(rows(records)) if line.startswith("proposed:")]
    assert "significantly below off 0, before Holm 0" in said
    assert said.endswith("not one rank changed in 1.")


def test_an_arm_that_did_nothing_is_said_to_have_done_nothing() -> None:
    text = markdown(rows(table(0)))
    assert "none: same ranks" in text
    assert "none" not in markdown(rows(table(1)))


def test_the_summary_has_a_line_for_each_setting_and_a_column_for_each_arm() -> None:
    records = table(2)
    records["mf-bce", "adam 1e-2", "auto_fix"] = records["mf-bce", "adam 1e-2", "off"]
    for arm in ("off", "auto_fix"):
        records["mf-bpr", "tuned", arm] = table(0)["mf-bce", "adam 1e-2", "off"]
    head, rule, first, second = summary(rows(records)).splitlines()
    assert head == "| model | setting | off | auto_fix | proposed |"
    assert rule == "|---|---|---|---|---|"
    gain = next(row for row in rows(records) if row.arm == "proposed").ndcg.gain
    assert f" | same | **{100 * gain:+.1f} [" in first
    assert first.endswith("]** |")
    assert second.startswith("| mf-bpr | tuned | 0.")
    assert second.endswith(" | same |  |")


def test_arms_are_compared_on_the_seeds_that_both_have() -> None:
    records = table(1)
    del records["mf-bce", "adam 1e-2", "off"][3]
    (row,) = rows(records)
    assert row.ndcg.seeds == 9


def test_pooled_takes_the_seeds_that_all_models_have() -> None:
    one, two = table(1), table(2)
    two["mf-bce", "adam 1e-2", "proposed"].pop(0)
    records = {**one, **{("mf-bpr", *key[1:]): value for key, value in two.items()}}
    found = pooled(records, "adam 1e-2", "proposed")
    assert found is not None
    assert (found.models, found.seeds) == (2, 9)
    assert pooled(records, "tuned", "proposed") is None
