"""ZOMBIE_EMBEDDINGS: says whom the tests named, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.learning_rate import settled_rate
from gradtracer.diagnoses.zombie_embeddings import examine
from gradtracer.settings import Settings
from gradtracer.statistics.peers import Followed
from gradtracer.statistics.zombie_rows import ZombieRows, zombie_rows

MakeFigures = Callable[..., TableFigures]


def verdict(rows: int, planted: int, times: float = 30.0, alternating: int = 0) -> ZombieRows:
    rng = np.random.default_rng(0)
    noise, norm = rng.lognormal(0, 0.4, rows), rng.lognormal(0, 0.3, rows)
    agreement = rng.normal(0, 0.1, rows)
    noise[:planted] *= times
    norm[:planted] /= 8
    agreement[:alternating] = -0.98
    exposures = np.full(rows, 40)
    table = Followed(np.arange(rows), exposures, exposures, noise, noise, agreement, norm)
    return zombie_rows(lambda: [table], columns=64, noise_fdr=0.05, oscillation_fdr=0.01)


def test_named_rows_raise_it_with_their_count_and_the_strongest_first(
    make_figures: MakeFigures,
) -> None:
    named = verdict(1_000, 30)
    finding = examine(make_figures(zombies=named), Settings())
    assert finding is not None
    (evidence,) = finding.evidence
    assert (evidence.value, evidence.n) == (named.rows.size, 1_000)
    assert evidence.p_value == pytest.approx(named.q_values.min())
    assert finding.rows is not None
    assert finding.rows.count == named.rows.size
    assert finding.rows.sample == named.rows[:20].tolist()
    assert [offer.fix for offer in finding.fixes] == ["enable-auto-fix", "suppress"]
    assert "noisier" in finding.premise
    assert "alternating" not in finding.premise


def test_a_healthy_table_does_not(make_figures: MakeFigures) -> None:
    assert examine(make_figures(zombies=verdict(1_000, 0)), Settings()) is None


def test_alternating_rows_are_told_apart(make_figures: MakeFigures) -> None:
    finding = examine(make_figures(zombies=verdict(1_000, 0, alternating=12)), Settings())
    assert finding is not None
    assert "alternating in direction: 12" in finding.premise
    assert "noisier" not in finding.premise


def test_confidence_is_one_less_the_expected_share_of_wrong_names(
    make_figures: MakeFigures,
) -> None:
    levels = []
    for times in (5.0, 8.0, 30.0):
        named = verdict(1_000, 60, times)
        finding = examine(make_figures(zombies=named), Settings())
        assert finding is not None
        assert finding.confidence == pytest.approx(1 - named.q_values.mean())
        levels.append(finding.confidence)
    assert levels == sorted(levels)
    assert levels[0] < levels[-1]
    assert min(levels) >= 0.95


def facts(lr: float = 0.2, *, adaptive: bool = False) -> OptimizerFacts:
    return OptimizerFacts("SGD", lr, 0.0, coupled=False, base_lr=lr, adaptive=adaptive)


def test_alternating_rows_are_offered_the_rate_of_their_own_curvature(
    make_figures: MakeFigures,
) -> None:
    # -0.8 is what a = -1/2 gives: the step is 1.5 times the one that lands in the minimum.
    assert settled_rate(facts(), -0.8) == pytest.approx(0.2 / 1.5, rel=0.05)
    assert settled_rate(facts(), -1.0) == pytest.approx(0.1)
    named = verdict(1_000, 0, alternating=12)
    finding = examine(make_figures(zombies=named, optimizer=facts()), Settings())
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == [
        "reduce-learning-rate",
        "enable-auto-fix",
        "suppress",
    ]
    assert [offer.preferred for offer in finding.fixes] == [True, False, False]
    assert "lower the learning rate of this table to 0.11;" in finding.action
    assert finding.fixes[0].parameters == {
        "lr": settled_rate(facts(), -0.98),
        "measured_lr": 0.2,
        "parameters": "item_emb.weight",
    }


def test_under_an_optimizer_that_scales_its_steps_the_rate_is_the_second_thing_to_try(
    make_figures: MakeFigures,
) -> None:
    named = verdict(1_000, 0, alternating=12)
    finding = examine(make_figures(zombies=named, optimizer=facts(adaptive=True)), Settings())
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == [
        "enable-auto-fix",
        "reduce-learning-rate",
        "suppress",
    ]
    assert finding.fixes[0].preferred


def test_noisy_rows_are_offered_no_other_rate(make_figures: MakeFigures) -> None:
    finding = examine(make_figures(zombies=verdict(1_000, 30), optimizer=facts()), Settings())
    assert finding is not None
    assert [offer.fix for offer in finding.fixes] == ["enable-auto-fix", "suppress"]


def test_a_settled_rate_lands_a_parabola_in_its_minimum() -> None:
    curvature, lr, weight = 8.5, 0.2, 1.0
    gradient = curvature * weight
    after = curvature * (weight - lr * gradient)
    agreement = 2 * gradient * after / (gradient**2 + after**2)
    rate = settled_rate(facts(lr), agreement)
    assert abs(weight - rate * gradient) < 0.05 * weight
