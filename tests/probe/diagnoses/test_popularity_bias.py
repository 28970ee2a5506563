"""POPULARITY_BIAS: raised on exposure more uneven than 80/20, not on counting noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.popularity_bias import examine
from gradtracer.settings import Settings
from gradtracer.statistics.flattening import flattening_power

MakeFigures = Callable[..., TableFigures]


def pareto(rows: int, shape: float) -> np.ndarray:
    quantiles = (np.arange(rows) + 0.5) / rows
    return np.ceil(10 * (1 - quantiles) ** (-1 / shape)).astype(np.int64)


def test_a_head_that_takes_nearly_everything_is_bias(
    make_figures: MakeFigures,
) -> None:
    counts = np.concatenate([np.full(20, 50_000), np.full(980, 20)])
    finding = examine(make_figures(counts), Settings())
    assert finding is not None
    (evidence,) = finding.evidence
    assert evidence.n == 1_000
    assert evidence.interval is not None
    assert evidence.interval[0] > evidence.threshold
    assert evidence.interval[0] < evidence.value < evidence.interval[1]
    assert "49%" in finding.premise


@pytest.mark.parametrize("counts", [np.full(1_000, 50), pareto(1_000, 2.0)])
def test_even_and_mildly_uneven_exposure_are_not(
    make_figures: MakeFigures, counts: np.ndarray
) -> None:
    assert examine(make_figures(counts), Settings()) is None


def test_few_look_ups_a_row_are_not_judged(make_figures: MakeFigures) -> None:
    counts = np.ones(1_000, dtype=np.int64)
    counts[:40] = 100
    settings = Settings(popularity_gini=0.6)
    assert examine(make_figures(counts), settings) is None
    assert examine(make_figures(2 * counts), settings) is not None


def test_a_small_table_is_not_judged(make_figures: MakeFigures) -> None:
    assert examine(make_figures([10_000] + [1] * 28), Settings()) is None


def test_confidence_moves_with_the_number_of_rows(
    make_figures: MakeFigures,
) -> None:
    rng = np.random.default_rng(0)
    levels = []
    for rows in (200, 400, 800):
        counts = np.ceil(rng.permutation(np.tile(pareto(200, 1.02), rows // 200))).astype(np.int64)
        finding = examine(make_figures(counts), Settings(popularity_gini=0.55))
        levels.append(0.0 if finding is None else finding.confidence)
    assert levels == sorted(levels)
    assert levels[0] < levels[-1] < 1.0


def test_weights_are_offered_with_the_power_that_reaches_the_limit(
    make_figures: MakeFigures,
) -> None:
    counts = np.concatenate([np.full(20, 50_000), np.full(980, 20)])
    finding = examine(make_figures(counts), Settings())
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == [
        "log-q-correction",
        "inverse-frequency-weights",
        "suppress",
    ]
    assert [offer.preferred for offer in finding.fixes] == [True, False, False]
    power = flattening_power(counts, Settings().popularity_gini)
    assert finding.fixes[1].parameters == {"power": power}


def test_one_row_above_all_others_is_taken_for_padding(make_figures: MakeFigures) -> None:
    counts = pareto(1_000, 2.0)
    counts[0] = 9 * counts.max() + 1_000
    assert counts[0] > counts.sum() / 20
    finding = examine(make_figures(counts), Settings())
    assert finding is not None
    assert finding.premise.startswith("Row 0 alone takes ")
    assert "padding_idx=0" in finding.action
    assert [offer.fix for offer in finding.fixes] == ["suppress"]


def test_the_first_of_a_zipf_and_a_padding_that_is_said_are_not(make_figures: MakeFigures) -> None:
    zipf = np.round(1e6 / np.arange(1, 1_001) ** 2).astype(np.int64)
    finding = examine(make_figures(zipf), Settings())
    assert finding is not None and "Gini" in finding.premise
    assert examine(make_figures(pareto(1_000, 2.0), padding_idx=0), Settings()) is None
