"""The posterior is nearer to the truth than what a row shows by itself, and than its stratum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, special, stats

from gradtracer.auto_fix.posterior import (
    credible_ratio,
    levels,
    moderated_variance,
    ready_rows,
    signal_share,
)

Array = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """Rows whose moments come from gradients that were drawn."""

    look_ups: npt.NDArray[np.int64]
    exposures: npt.NDArray[np.int16]
    energy: Array
    noise: Array
    truth: Array


def draw(rows: int = 600, exposures: int = 12, seed: int = 0, scale: float = 1.0) -> Rows:
    """Four coordinates of `exposures` gradients of each row; signal and noise differ by row."""
    random = np.random.default_rng(seed)
    noise = scale * np.exp(random.normal(0, 0.7, rows))
    ratio = random.gamma(1.0, 1.0, rows)
    signal = random.normal(size=(rows, 1, 4))
    signal *= np.sqrt(ratio * noise)[:, None, None] / np.linalg.norm(signal, axis=2, keepdims=True)
    shown = signal + random.normal(size=(rows, exposures, 4)) * np.sqrt(noise / 4)[:, None, None]
    a, b = shown[:, :-1], shown[:, 1:]
    v = (np.square(a - b).sum(2) / 2).mean(1)
    e = ((np.square(a).sum(2) + np.square(b).sum(2)) / 2).mean(1)
    counts = np.full(rows, 10 * exposures)
    return Rows(counts, np.full(rows, exposures, np.int16), e, v, ratio / (1 + ratio))


@pytest.mark.parametrize("exposures", [8, 12, 30])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_nearer_to_the_truth_than_the_row_or_its_stratum_alone(exposures: int, seed: int):
    rows = draw(exposures=exposures, seed=seed)
    found = signal_share(*rows[:4])
    alone = np.clip(1 - rows.noise / rows.energy, 0, 1)
    pooled = np.full_like(alone, 1 - rows.noise.mean() / rows.energy.mean())
    error = [np.square(each - rows.truth).mean() for each in (found, alone, pooled)]
    # With few exposures by much, with many the row's own figures become as good.
    assert error[0] < (0.9 if exposures < 30 else 1.0) * error[1]
    assert error[0] < 0.9 * error[2]


def test_units_of_the_gradient_do_not_matter():
    one, other = draw(scale=1.0), draw(scale=1e-8)
    assert np.allclose(signal_share(*one[:4]), signal_share(*other[:4]), atol=1e-5)


def test_rows_of_pure_noise_end_at_the_bottom():
    rows = draw()
    rows.energy[:50] = rows.noise[:50] * np.random.default_rng(1).uniform(0.9, 1.1, 50)
    rows.noise[:50] *= 4
    rows.energy[:50] *= 4
    share = signal_share(*rows[:4])
    assert np.median(share[:50]) < 0.6 * np.median(share[50:])


def test_each_stratum_has_a_prior_of_its_own():
    quiet, loud = draw(seed=1), draw(seed=2)
    both = Rows(*(np.concatenate(pair) for pair in zip(quiet, loud, strict=True)))
    both.look_ups[600:] *= 64
    both.energy[600:] = both.noise[600:] * 1.02
    share = signal_share(*both[:4])
    assert np.array_equal(share[:600], signal_share(*quiet[:4]))
    assert share[600:].mean() < 0.1


def test_what_is_not_known_is_left_alone():
    rows = draw()
    rows.exposures[0] = 7
    rows.noise[1] = np.nan
    rows.energy[2] = np.inf
    rows.noise[3] = 0.0
    assert signal_share(*rows[:4])[:4].tolist() == [1.0] * 4
    assert ready_rows(*rows[1:4])[:5].tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_tables_of_hardly_any_row(size: int):
    rows = Rows(*(each[:size] for each in draw()))
    share = signal_share(*rows[:4])
    assert share.shape == (size,)
    assert ((share >= 0) & (share <= 1)).all()


def test_rows_all_alike_are_their_mean():
    share = signal_share(
        np.full(300, 100), np.full(300, 20, np.int16), np.full(300, 3.0), np.full(300, 2.0)
    )
    assert np.ptp(share) < 1e-6
    # The logarithm of a mean of squares is low by little at 50 degrees of freedom.
    assert share[0] == pytest.approx(1 / 3, abs=0.02)


def test_variances_are_moderated_as_the_marginal_likelihood_would():
    """Smyth's moments against the likelihood of F(d, d0), maximised by a search."""
    random = np.random.default_rng(3)
    prior, degrees = 6.0, 10.0
    truth = 2.0 * prior / random.chisquare(prior, 4_000)
    shown = truth * random.chisquare(degrees, 4_000) / degrees

    def cost(p: Array) -> float:
        d0, s0 = np.exp(p)
        return -float((stats.f.logpdf(shown / s0, degrees, d0) - np.log(s0)).sum())

    d0, s0 = np.exp(optimize.minimize(cost, [1.0, 0.0], method="Nelder-Mead").x)
    expected = (d0 * s0 + degrees * shown) / (d0 + degrees)
    found = moderated_variance(shown, np.full(4_000, degrees))
    assert np.allclose(found, expected, rtol=0.1)
    assert np.square(np.log(found / truth)).mean() < np.square(np.log(shown / truth)).mean()


def test_variances_without_a_spread_of_their_own_are_pooled():
    random = np.random.default_rng(4)
    shown = random.chisquare(10, 50) / 10
    shown = np.exp(np.log(shown) * 0.5)
    found = moderated_variance(shown, np.full(50, 10.0))
    assert np.ptp(found) == 0
    centre = np.log(shown).mean() - special.digamma(5) + np.log(5)
    assert found[0] == pytest.approx(np.exp(centre))


def test_the_ratio_is_drawn_to_the_mean_by_its_uncertainty():
    ratio, degrees = np.array([0.0, 1.0, 2.0, 9.0]), np.array([80.0, 80.0, 80.0, 80.0])
    found = credible_ratio(ratio, degrees)
    between = ratio.var(ddof=1) - 7.0 / 80
    shrink = between / (between + 7.0 / 80)
    assert found == pytest.approx(3.0 + shrink * (ratio - 3.0))
    vague = credible_ratio(ratio, np.full(4, 8.0))
    assert np.ptp(vague) < np.ptp(found)


def test_ratios_below_zero_are_no_signal():
    assert credible_ratio(np.array([-0.5, -0.2, -0.9]), np.full(3, 20.0)).tolist() == [0, 0, 0]


def test_factors_are_held_above_the_floor():
    assert levels(np.array([0.0, 0.5, 1.0]), 0.3).tolist() == [76, 128, 255]
