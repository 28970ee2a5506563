"""EMBEDDING_DRIFT: raised when rows move without examples, by more than chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.embedding_drift import examine
from gradtracer.settings import Settings
from gradtracer.statistics.movement import DriftShare, MovementTotals, drift_share

MakeFigures = Callable[..., TableFigures]


def drift(untouched: float, steps: int, spread: float = 0.5) -> DriftShare | None:
    rng = np.random.default_rng(0)
    u = untouched * rng.lognormal(0, spread, steps)
    t = (1 - untouched) * rng.lognormal(0, spread, steps)
    sums = (t.sum(), u.sum(), (t * t).sum(), (u * u).sum(), (t * u).sum(), steps)
    return drift_share(MovementTotals(0.0, 0.0, *(float(s) for s in sums)))


def test_movement_mostly_without_examples_is_drift(
    make_figures: MakeFigures,
) -> None:
    finding = examine(make_figures(drift=drift(0.9, 200)), Settings())
    assert finding is not None
    (evidence,) = finding.evidence
    assert evidence.n == 200
    assert evidence.interval is not None
    assert evidence.interval[0] > evidence.threshold == 0.5
    assert 0.95 <= finding.confidence <= 1.0


def test_movement_mostly_with_examples_and_a_table_without_figures_are_not(
    make_figures: MakeFigures,
) -> None:
    assert examine(make_figures(drift=drift(0.2, 200)), Settings()) is None
    assert examine(make_figures(drift=None), Settings()) is None
    assert examine(make_figures(drift=drift(0.9, 20)), Settings()) is None


def test_confidence_moves_with_the_steps(make_figures: MakeFigures) -> None:
    levels = []
    for steps in (30, 120, 1_000):
        finding = examine(make_figures(drift=drift(0.56, steps, 0.9)), Settings(drift_share=0.52))
        levels.append(0.0 if finding is None else finding.confidence)
    assert levels[0] < levels[-1]


def test_an_interval_cut_off_at_one_does_not_feign_precision(
    make_figures: MakeFigures,
) -> None:
    cut = DriftShare(0.8, (0.4, 1.0), 40)
    whole = DriftShare(0.8, (0.4, 1.2), 40)
    assert examine(make_figures(drift=cut), Settings()) is None
    assert examine(make_figures(drift=whole), Settings()) is None


def test_the_sparse_form_is_offered_under_an_optimizer_that_has_one(
    make_figures: MakeFigures,
) -> None:
    def offers(name: str, decay: float, *, coupled: bool = True) -> list[tuple[str, bool]]:
        facts = OptimizerFacts(name, 0.01, decay, coupled=coupled, base_lr=0.01, momentum=0.9)
        finding = examine(make_figures(drift=drift(0.9, 200), optimizer=facts), Settings())
        assert finding is not None
        return [(offer.fix, offer.preferred) for offer in finding.fixes]

    assert offers("Adam", 0.0) == [("sparse-gradients", False), ("suppress", False)]
    assert offers("Adam", 1e-3) == [
        ("reduce-weight-decay", True),
        ("sparse-gradients", False),
        ("suppress", False),
    ]
    # What MISSING_REGULARIZATION has set is not taken back.
    assert offers("AdamW", 0.1, coupled=False) == [("sparse-gradients", False), ("suppress", False)]
    assert offers("RMSprop", 0.0) == [("suppress", False)]


def test_without_momentum_and_decay_gradients_are_what_moves_rows(
    make_figures: MakeFigures,
) -> None:
    facts = OptimizerFacts("Adagrad", 0.01, 0.0, coupled=True, adaptive=True)
    finding = examine(make_figures(drift=drift(0.9, 200), optimizer=facts), Settings())
    assert finding is not None
    assert "zero_grad()" in finding.action
    assert "omentum of a dense optimizer" not in finding.implies
    assert [offer.fix for offer in finding.fixes] == ["suppress"]
