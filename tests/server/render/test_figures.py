"""A layer's figures have names and units, and a newer probe's figures appear too."""

from __future__ import annotations

from gradtracer_server.render.figures import Figure, figures


def test_known_figures_have_labels_units_and_intervals() -> None:
    table = figures(
        {
            "rows": 1682,
            "dim": 64,
            "seen_rows": 1480,
            "gini": 0.8712,
            "gini_low": 0.85,
            "gini_high": 0.889,
            "effective_rank": 24.31,
            "coverage": 0.88,
        }
    )
    assert table == [
        Figure("Rows seen", "1,480 of 1,682"),
        Figure("Popularity Gini", "0.87", "0.85 to 0.89"),
        Figure("Effective rank", "24.3 of 64"),
    ]


def test_steps_are_told_beside_those_of_the_run() -> None:
    assert figures({"steps": 448, "run_steps": 500}) == [Figure("Steps followed", "448 of 500")]
    assert figures({"steps": 448}) == [Figure("Steps followed", "448")]
    # Counted from an earlier run's checkpoint on, which this run's steps do not hold.
    assert figures({"steps": 448, "run_steps": 40}) == [Figure("Steps followed", "448")]


def test_what_says_nothing_new_is_left_out() -> None:
    assert figures({"grad_nonfinite": 0}) == []
    assert figures({"grad_nonfinite": 2}) == [
        Figure("Steps with a gradient that is not finite", "2")
    ]
    assert figures({"coverage": 0.88}) == [Figure("Coverage", "88 %")]
    assert figures({"coverage": 0.88, "rows": 8, "seen_rows": 7}) == [Figure("Rows seen", "7 of 8")]


def test_an_unknown_figure_is_shown_by_its_name() -> None:
    assert figures({"spikiness": 0.5, "spikiness_low": 0.4, "spikiness_high": 0.6}) == [
        Figure("spikiness", "0.500", "0.400 to 0.600")
    ]


def test_a_bound_without_its_value_is_a_figure_of_its_own() -> None:
    assert figures({"tide_low": 3}) == [Figure("tide_low", "3")]


def test_no_journal_makes_an_endless_table() -> None:
    assert len(figures({f"statistic_{number}": 1.0 for number in range(10_000)})) == 40
