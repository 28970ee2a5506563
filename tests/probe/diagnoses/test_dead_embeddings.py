"""DEAD_EMBEDDINGS: raised on rows that are out of reach, silent while rows still come."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.dead_embeddings import examine
from gradtracer.settings import Settings
from gradtracer.statistics.exposure import Halfway

SETTINGS = Settings()


MakeFigures = Callable[..., TableFigures]


def drawn(rows: int, reachable: int, look_ups: int, seed: int = 0) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, reachable, look_ups)
    return np.bincount(ids, minlength=rows)


def test_a_table_of_which_a_third_is_out_of_reach_has_dead_rows(
    make_figures: MakeFigures,
) -> None:
    finding = examine(make_figures(drawn(900, 600, 9_000)), SETTINGS)
    assert finding is not None
    (evidence,) = finding.evidence
    assert finding.confidence > 0.99
    assert evidence.n == 9_000
    assert evidence.interval is not None
    low, high = evidence.interval
    assert low <= 300 <= high
    assert evidence.value > evidence.threshold == pytest.approx(9.0)
    assert finding.rows is not None
    assert finding.rows.count == 300
    assert finding.rows.sample == list(range(600, 620))


@pytest.mark.parametrize("look_ups", [1, 30, 300, 900, 2_000, 20_000])
def test_an_even_table_has_none_at_any_age(make_figures: MakeFigures, look_ups: int) -> None:
    assert examine(make_figures(drawn(900, 900, look_ups)), SETTINGS) is None


def test_a_young_run_over_a_long_tail_is_not_judged(
    make_figures: MakeFigures,
) -> None:
    law = 1 / np.arange(1, 5_001)
    ids = np.random.default_rng(0).choice(5_000, size=5_000, p=law / law.sum())
    assert examine(make_figures(np.bincount(ids, minlength=5_000)), SETTINGS) is None


def test_nothing_looked_up_is_no_finding(make_figures: MakeFigures) -> None:
    assert examine(make_figures(np.zeros(50, dtype=np.int64)), SETTINGS) is None


def test_padding_is_not_among_the_rows(make_figures: MakeFigures) -> None:
    counts = drawn(900, 600, 9_000)
    finding = examine(make_figures(counts, padding_idx=700, rows=899), SETTINGS)
    assert finding is not None
    assert finding.rows is not None
    assert finding.rows.count == 299


def test_confidence_moves_with_the_look_ups(make_figures: MakeFigures) -> None:
    # 1.3 % of the rows are out of reach, against a limit of 1 %.
    levels = []
    for look_ups in (9_000, 12_000, 60_000):
        early, late = drawn(2_000, 1_974, look_ups // 2), drawn(2_000, 1_974, look_ups // 2, 1)
        halfway = Halfway(0.5, int(((early == 0) & (late > 0)).sum()))
        finding = examine(make_figures(early + late, halfway=halfway), SETTINGS)
        levels.append(0.0 if finding is None else finding.confidence)
    assert levels == sorted(levels)
    assert levels[0] < levels[-1] < 1.0


def test_the_limit_is_the_setting(make_figures: MakeFigures) -> None:
    figures = make_figures(drawn(900, 600, 9_000))
    assert examine(figures, Settings(dead_share=0.4)) is None


def test_a_dead_tail_is_offered_to_be_cut_at_the_highest_id_seen(
    make_figures: MakeFigures,
) -> None:
    finding = examine(make_figures(drawn(900, 600, 9_000)), SETTINGS)
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == ["shrink-table", "suppress"]
    assert finding.fixes[0].parameters == {"num_embeddings": 600, "measured_rows": 900}
    assert finding.fixes[0].preferred
    assert finding.expected_effect == (
        "33.3% fewer rows to store; every id seen keeps a row of its own."
    )


def test_rows_that_are_dead_between_others_are_not_folded_where_many_would_share(
    make_figures: MakeFigures,
) -> None:
    counts = np.zeros(1_000, dtype=np.int64)
    counts[np.random.default_rng(0).choice(1_000, 700, replace=False)] = 20
    counts[-1] = 20
    finding = examine(make_figures(counts), SETTINGS)
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == ["suppress"]
