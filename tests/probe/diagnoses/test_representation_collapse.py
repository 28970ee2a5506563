"""REPRESENTATION_COLLAPSE: raised on a table of few directions, silent on wide or growing ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.representation_collapse import examine, narrower_dim
from gradtracer.settings import Settings

MakeFigures = Callable[..., TableFigures]


def table(rows: int, dim: int, rank: int, rest: float = 0.02) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    low = torch.randn(rows, rank, generator=g) @ torch.randn(rank, dim, generator=g)
    return low + rest * torch.randn(rows, dim, generator=g)


def test_a_table_of_three_directions_has_collapsed(
    make_figures: MakeFigures,
) -> None:
    finding = examine(make_figures(weight=table(600, 32, 3)), Settings())
    assert finding is not None
    (evidence,) = finding.evidence
    assert evidence.n == 600
    assert evidence.interval is not None
    assert evidence.interval[0] <= evidence.value <= evidence.interval[1] < evidence.threshold
    assert [offer.fix for offer in finding.fixes] == ["reduce-embedding-dim", "suppress"]
    assert finding.fixes[0].parameters == {"embedding_dim": 8, "measured_dim": 32}
    assert finding.fixes[0].preferred


def test_independent_entries_have_not(make_figures: MakeFigures) -> None:
    assert examine(make_figures(weight=table(600, 32, 32, rest=1.0)), Settings()) is None


def test_too_few_rows_a_single_dimension_and_zeros_are_not_judged(
    make_figures: MakeFigures,
) -> None:
    for weight in (table(100, 32, 3), table(600, 1, 1), torch.zeros(600, 32)):
        assert examine(make_figures(weight=weight), Settings()) is None


def test_a_rank_that_still_grows_is_left_alone(make_figures: MakeFigures) -> None:
    figures = make_figures(weight=table(600, 32, 3))
    assert figures.rank is not None
    assert examine(figures._replace(earlier_rank=0.8 * figures.rank.value), Settings()) is None
    assert examine(figures._replace(earlier_rank=figures.rank.value), Settings()) is not None


@pytest.mark.parametrize("coupled", [True, False])
def test_coupled_decay_is_the_first_remedy(make_figures: MakeFigures, coupled: bool) -> None:
    facts = OptimizerFacts("Adam", 0.01, 0.1, coupled)
    finding = examine(make_figures(weight=table(600, 32, 3), optimizer=facts), Settings())
    assert finding is not None
    preferred = [offer.fix for offer in finding.fixes if offer.preferred]
    assert preferred == (["reduce-weight-decay"] if coupled else ["reduce-embedding-dim"])


def test_confidence_moves_with_the_number_of_rows(
    make_figures: MakeFigures,
) -> None:
    levels = []
    for rows in (140, 2_000):
        weight = table(4_000, 32, 14, rest=0.05)[:rows]
        figures = make_figures(weight=weight)
        assert figures.rank is not None
        share = 1.02 * figures.rank.value / figures.rank.null
        finding = examine(figures, Settings(collapse_share=share))
        levels.append(0.0 if finding is None else finding.confidence)
    assert levels[0] < levels[1]


@pytest.mark.parametrize(
    ("rank_high", "dim", "narrower"),
    [(7.9, 32, 8), (8.1, 32, 16), (30.0, 32, None), (3.0, 8, None)],
)
def test_a_narrower_table_is_a_multiple_of_eight_that_saves_a_quarter(
    rank_high: float, dim: int, narrower: int | None
) -> None:
    assert narrower_dim(rank_high, dim) == narrower
