"""Verdicts over a table, against the same test written row by row, and under the null."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from gradtracer.statistics import peers
from gradtracer.statistics.noise_energy import NoiseEnergy
from gradtracer.statistics.peers import Followed
from gradtracer.statistics.zombie_rows import ZombieRows, zombie_rows

Array = npt.NDArray[np.float64]


class Table:
    """Figures of a table whose healthy rows differ by chance alone."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.look_ups = np.ceil(rng.pareto(1.0, rows) * 40 + 10).astype(np.int64)
        self.exposures = np.minimum(self.look_ups, 40)
        self.noise: Array = rng.lognormal(0.0, 0.4, rows)
        self.energy: Array = self.noise * rng.uniform(0.9, 1.1, rows)
        self.agreement: Array = rng.normal(0.0, 0.1, rows)
        self.squared_norm: Array = rng.lognormal(0.0, 0.3, rows)
        self.columns = 64

    def verdict(self, noise_fdr: float = 0.05, oscillation_fdr: float = 0.01) -> ZombieRows:
        return zombie_rows(
            lambda: [self.followed],
            columns=self.columns,
            noise_fdr=noise_fdr,
            oscillation_fdr=oscillation_fdr,
        )

    @property
    def followed(self) -> Followed:
        averages = self.energy, self.noise, self.agreement
        rows = np.arange(self.look_ups.size)
        return Followed(rows, self.look_ups, self.exposures, *averages, self.squared_norm)


def benjamini_hochberg(p: list[float]) -> list[float]:
    """Adjusted p-values by the definition."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, least = [0.0] * len(p), 1.0
    for rank in range(len(p), 0, -1):
        place = order[rank - 1]
        least = min(least, p[place] * len(p) / rank)
        adjusted[place] = least
    return adjusted


def slow_strata(look_ups: list[int]) -> list[list[int]]:
    """Rows by half octave; classes are joined upwards until 200 are together."""
    classes: dict[int, list[int]] = {}
    for row, count in enumerate(look_ups):
        classes.setdefault(math.floor(2 * math.log2(max(count, 1))), []).append(row)
    strata: list[list[int]] = []
    waiting: list[int] = []
    for key in sorted(classes):
        waiting += classes[key]
        if len(waiting) >= 200:
            strata.append(waiting)
            waiting = []
    if waiting and strata:
        strata[-1] += waiting
    elif waiting:
        strata.append(waiting)
    return strata


def slow_z(values: list[float], strata: list[list[int]]) -> list[float]:
    z = [0.0] * len(values)
    for members in strata:
        x = [values[row] for row in members]
        low2, low16, median, high75 = (float(np.quantile(x, q)) for q in (0.023, 0.16, 0.5, 0.75))
        spread = max(median - low16, (median - low2) / 2, (high75 - median) / 0.6745, 0.05)
        for row in members:
            z[row] = (values[row] - median) / spread
    return z


def slow_names(table: Table, noise_fdr: float, oscillation_fdr: float) -> set[int]:
    rows = [r for r in range(table.look_ups.size) if table.exposures[r] >= 8]
    strata = slow_strata([int(table.look_ups[r]) for r in rows])
    loud = slow_z([math.log(table.noise[r]) for r in rows], strata)
    short = slow_z([-math.log(table.squared_norm[r]) for r in rows], strata)
    sums = [max(a, -6) + max(b, -6) for a, b in zip(loud, short, strict=True)]
    whole = slow_z(sums, strata)
    p = [
        float(stats.t.sf(z, 30)) if b >= 0.5 and a > 0 else 1.0
        for z, a, b in zip(whole, loud, short, strict=True)
    ]
    turned = []
    for r in rows:
        pairs = min(int(table.exposures[r]) - 1, 31)
        rho = min(max(float(table.agreement[r]), -0.999999), 0.999999)
        z = (math.atanh(rho) - math.atanh(-0.5)) * math.sqrt(max(pairs - 3, 1))
        turned.append(float(stats.norm.cdf(z)))
    q, t = benjamini_hochberg(p), benjamini_hochberg(turned)
    return {
        row for row, a, b in zip(rows, q, t, strict=True) if a <= noise_fdr or b <= oscillation_fdr
    }


@pytest.mark.parametrize("rows", [30, 250, 1_500])
@pytest.mark.parametrize("level", [0.05, 0.9])
def test_named_rows_equal_those_of_a_loop(rows: int, level: float) -> None:
    table = Table(rows)
    table.noise[:12] *= 9.0
    table.squared_norm[:12] *= 0.2
    table.agreement[12:18] = -0.97
    table.exposures[:3] = 7
    found = table.verdict(level, level / 5)
    assert set(found.rows.tolist()) == slow_names(table, level, level / 5)
    assert bool(np.all(np.diff(found.q_values) >= 0))


def test_healthy_tables_have_no_zombies() -> None:
    flagged = [Table(2_000, seed).verdict().rows.size for seed in range(30)]
    assert sum(flagged) / (30 * 2_000) < 0.001
    assert sum(size > 0 for size in flagged) <= 4


def test_planted_rows_are_found_and_few_others() -> None:
    table = Table(2_000)
    table.noise[:100] *= 9.0
    table.squared_norm[:100] *= 0.2
    found = set(table.verdict().rows.tolist())
    assert len(found & set(range(100))) >= 95
    assert len(found - set(range(100))) <= 10


def test_noisy_rows_that_attained_what_their_peers_did_are_left_alone() -> None:
    table = Table(2_000)
    table.noise[:100] *= 9.0
    table.squared_norm[:100] *= 1.2
    assert len(set(table.verdict().rows.tolist()) & set(range(100))) <= 10


def test_oscillation_is_absolute_and_needs_no_peers() -> None:
    table = Table(400)
    table.agreement[:] = -0.95
    found = table.verdict()
    assert int(found.oscillating.sum()) > 350
    assert found.mean_rho == pytest.approx(-0.95)


def sgd_at_rest(rate_times_curvature: float, dim: int, rows: int = 1_000) -> Table:
    """Rows that jitter around their optimum under plain SGD: g = e - noise, e -= a g."""
    g = torch.Generator().manual_seed(0)
    noise, ids = NoiseEnergy(rows, dim, torch.device("cpu"), 0), torch.arange(rows)
    error = torch.zeros(rows, dim)
    for _ in range(60):
        gradient = error - torch.randn(rows, dim, generator=g)
        noise.record(0, ids, gradient)
        noise.settle(ids, [0, rows])
        error = error - rate_times_curvature * gradient
    table = Table(rows)
    table.exposures = table.look_ups = noise.exposures.numpy()
    table.noise, table.energy = noise.noise.double().numpy(), noise.energy.double().numpy()
    table.agreement = noise.agreement.double().numpy()
    return table


@pytest.mark.parametrize("dim", [1, 4, 16])
@pytest.mark.parametrize("rate_times_curvature", [0.05, 0.5, 1.0])
def test_sgd_on_a_healthy_row_is_no_oscillation(rate_times_curvature: float, dim: int) -> None:
    found = sgd_at_rest(rate_times_curvature, dim).verdict()
    assert found.rows.size <= 2
    assert found.tested == 1_000


@pytest.mark.parametrize("dim", [4, 16])
def test_sgd_close_to_divergence_is_oscillation(dim: int) -> None:
    found = sgd_at_rest(1.97, dim).verdict()
    assert int(found.oscillating.sum()) > 800


def test_rows_with_few_exposures_are_unknown_and_unseen_ones_are_not_counted() -> None:
    table = Table(500)
    table.agreement[:20] = -0.99
    table.exposures[:10] = 7
    table.exposures[10:20] = 0
    found = table.verdict()
    assert found.rows.size == 0
    assert (found.tested, found.unknown) == (480, 10)


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_with_less_than_two_rows_to_compare_have_no_verdict(rows: int) -> None:
    table = Table(max(rows, 1))
    table.exposures[:] = 40 if rows else 0
    table.agreement[:] = -1.0
    found = table.verdict()
    assert (found.rows.size, found.tested) == (0, rows)


def test_figures_that_are_not_finite_are_unknown() -> None:
    table = Table(300)
    table.noise[4] = float("nan")
    table.energy[5] = float("inf")
    table.squared_norm[6] = float("nan")
    table.agreement[4:7] = -1.0
    found = table.verdict()
    assert (found.tested, found.unknown) == (297, 3)
    assert not set(found.rows.tolist()) & {4, 5, 6}


@pytest.mark.parametrize("zeros", ["noise", "energy", "squared_norm", "all"])
def test_zeros_raise_no_warning_and_name_nobody(zeros: str) -> None:
    table = Table(300)
    for name in ("noise", "energy", "squared_norm") if zeros == "all" else (zeros,):
        setattr(table, name, np.zeros(300))
    assert table.verdict().rows.size == 0


def blocks_of(table: Followed, size: int) -> Iterator[Followed]:
    for first in range(0, table.rows.size, size):
        yield table.of(np.arange(first, min(first + size, table.rows.size)))


def test_a_sample_of_a_large_table_names_what_all_rows_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = Table(40_000)
    figures.noise[:2_000] *= 30
    figures.energy[:2_000] *= 30
    figures.squared_norm[:2_000] /= 8
    figures.agreement[2_000:2_300] = -0.95
    sample = figures.verdict()
    monkeypatch.setattr(peers, "SAMPLE", 100_000)
    whole = figures.verdict()
    assert whole.rows.size > 2_200
    both = np.intersect1d(sample.rows, whole.rows).size
    assert both / max(sample.rows.size, whole.rows.size) > 0.99
    assert np.count_nonzero(sample.rows >= 2_300) < 0.01 * 37_700


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 8, 15])
def test_in_few_columns_a_norm_near_nothing_is_no_wonder(columns: int) -> None:
    named = found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        figures = Table(2_000, seed)
        figures.columns = columns
        figures.squared_norm = rng.chisquare(columns, 2_000)
        named += figures.verdict().rows.size
        figures.noise[:100] *= 8
        figures.energy[:100] *= 8
        figures.squared_norm[:100] /= 16
        found += np.count_nonzero(figures.verdict().rows < 100)
    assert named <= 2
    assert found / 1_000 > (0.5 if columns == 1 else 0.9)


def test_blocks_of_any_size_give_the_same_sample_and_verdict() -> None:
    figures = Table(40_000)
    figures.noise[::40] *= 30
    figures.squared_norm[::40] /= 8
    table = figures.followed
    whole = zombie_rows(lambda: [table], columns=64, noise_fdr=0.05, oscillation_fdr=0.01)
    found = zombie_rows(
        lambda: blocks_of(table, 777), columns=64, noise_fdr=0.05, oscillation_fdr=0.01
    )
    assert whole.rows.size > 800
    assert found.rows.tolist() == whole.rows.tolist()
    assert found.q_values.tolist() == whole.q_values.tolist()
    assert found.mean_rho == pytest.approx(whole.mean_rho)


def test_the_test_takes_no_memory_for_each_row_that_is_ready() -> None:
    table = Table(400_000).followed
    tracemalloc.start()
    try:
        zombie_rows(
            lambda: blocks_of(table, 16_384), columns=64, noise_fdr=0.05, oscillation_fdr=0.01
        )
        reached = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reached < 20 * table.rows.size
