"""Noise energy against a float64 loop over rows, and against what it must mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch

from gradtracer.statistics.exposure_clock import ExposureClock
from gradtracer.statistics.noise_energy import NoiseEnergy

CPU = torch.device("cpu")
BLOCK = 4


@dataclass
class SlowRow:
    """One row, as the docstrings describe it."""

    exposures: int = 0
    age: int = 0
    kept: torch.Tensor | None = None
    kept_count: int = 0
    noise: float = 0.0
    energy: float = 0.0
    agreement: float = 0.0


@dataclass
class SlowNoise:
    """Every row by itself, in float64, with the rotation done explicitly."""

    basis: torch.Tensor
    rows: dict[int, SlowRow] = field(default_factory=dict)

    def start_burst(self) -> None:
        for row in self.rows.values():
            row.kept = None

    def update(self, ids: list[int], values: torch.Tensor) -> None:
        for row_id in set(ids):
            places = [place for place, other in enumerate(ids) if other == row_id]
            self._expose(self.rows.setdefault(row_id, SlowRow()), values[places].double())

    def _expose(self, row: SlowRow, examples: torch.Tensor) -> None:
        count = examples.shape[0]
        mean = examples.sum(dim=0) / count
        if not torch.isfinite(mean).all():
            row.kept = None
            return
        rotated = torch.stack([(mean * column).sum() for column in self.basis.double().T])
        blocks = rotated.reshape(-1, BLOCK)
        m = blocks.shape[0]
        if row.kept is not None:
            now = blocks[(row.exposures - 1) % m]
            one = 1.0 / (1.0 / count + 1.0 / row.kept_count)
            difference = float((now - row.kept).square().sum())
            size = float(now.square().sum() + row.kept.square().sum())
            row.exposures += 1
            row.age = min(row.age + 1, 17)
            weight = 1.0 / max(1, min(row.age, row.exposures) - 1)
            row.noise += weight * (m * difference * one - row.noise)
            row.energy += weight * (m * size * one - row.energy)
            cosine = 1.0 - difference / size if size > 0 else 0.0
            row.agreement += weight * (cosine - row.agreement)
        else:
            row.exposures = max(row.exposures, 1)
            row.age = min(row.age, 3) + 1
        row.kept = blocks[(row.exposures - 1) % m]
        row.kept_count = count


def sparse(ids: list[int], values: torch.Tensor, rows: int) -> torch.Tensor:
    index = torch.tensor([ids], dtype=torch.int64)
    return torch.sparse_coo_tensor(index, values, (rows, values.shape[1]), check_invariants=True)


def take_in(noise: NoiseEnergy, ids: torch.Tensor, grad: torch.Tensor) -> int:
    noise.record(0, ids, grad)
    return bad_among(noise.settle(ids, [0, ids.numel()]))


def bad_among(steps: torch.Tensor | None) -> int:
    return 0 if steps is None else int(steps.sum())


def feed(noise: NoiseEnergy, ids: list[int], values: torch.Tensor) -> int:
    return take_in(noise, torch.tensor(ids), sparse(ids, values, noise.noise.numel()))


def follow(gradients: torch.Tensor, *, seed: int = 0) -> NoiseEnergy:
    """Show `gradients` `[steps, rows, D]` one after the other."""
    rows = gradients.shape[1]
    noise = NoiseEnergy(rows, gradients.shape[2], CPU, seed)
    for step in gradients:
        take_in(noise, torch.arange(rows), step)
    return noise


@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("dim", [4, 20, 64])
def test_averages_equal_a_loop_over_rows(dim: int, may_ask: bool) -> None:
    rows, g = 12, torch.Generator().manual_seed(dim)
    noise = NoiseEnergy(rows, dim, CPU, 1)
    noise._may_ask = may_ask
    slow = SlowNoise(noise._basis)
    for step in range(60):
        if step in (20, 40):
            noise.start_burst()
            slow.start_burst()
        size = int(torch.randint(1, 9, (1,), generator=g))
        ids = torch.randint(rows - 1, (size,), generator=g).tolist()
        values = torch.randn(size, dim, generator=g) + 0.5
        if step % 13 == 5:
            values[0, 1] = float("nan")
        assert feed(noise, ids, values) == (step % 13 == 5)
        slow.update(ids, values)
    for row_id, row in slow.rows.items():
        assert int(noise.exposures[row_id]) == min(row.exposures, 40)
        # The kept block has three digits.
        assert float(noise.noise[row_id]) == pytest.approx(row.noise, rel=0.03)
        assert float(noise.energy[row_id]) == pytest.approx(row.energy, rel=0.03)
        assert float(noise.agreement[row_id]) == pytest.approx(row.agreement, abs=0.02)
    assert int(noise.exposures[rows - 1]) == 0
    assert float(noise.energy[rows - 1]) == 0.0


@pytest.mark.parametrize("rows", [3, 12, 400])
def test_steps_taken_in_together_equal_a_loop_over_rows_and_steps(rows: int) -> None:
    dim, g = 8, torch.Generator().manual_seed(rows)
    noise = NoiseEnergy(rows, dim, CPU, 1)
    slow = SlowNoise(noise._basis)
    bad_steps = 0
    for group in range(12):
        if group == 6:
            noise.start_burst()
            slow.start_burst()
        seen: list[int] = []
        bounds = [0]
        for step in range(1 + group % 7):
            ids = torch.randint(rows, (int(torch.randint(1, 9, (1,), generator=g)),), generator=g)
            values = torch.randn(ids.numel(), dim, generator=g) + 0.5
            if (group, step) in ((4, 1), (5, 3), (5, 4)):
                values[0, 2] = float("nan")
            grad = sparse(ids.tolist(), values, rows)
            if (group + step) % 5 == 0:
                grad = grad.to_dense() if group % 2 else grad.coalesce()
            noise.record(bounds[-1], ids, grad)
            slow.update(ids.tolist(), values)
            seen += ids.tolist()
            bounds.append(len(seen))
        bad_steps += bad_among(noise.settle(torch.tensor(seen), bounds))
    assert bad_steps == 3
    for row_id, row in slow.rows.items():
        assert int(noise.exposures[row_id]) == row.exposures
        assert float(noise.noise[row_id]) == pytest.approx(row.noise, rel=0.03)
        assert float(noise.energy[row_id]) == pytest.approx(row.energy, rel=0.03)
        assert float(noise.agreement[row_id]) == pytest.approx(row.agreement, abs=0.02)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 16, 18, 64, 200])
def test_the_basis_keeps_squared_lengths_on_average(dim: int) -> None:
    noise = NoiseEnergy(1, dim, CPU, 3)
    gram = noise._basis.double().T @ noise._basis.double()
    used = min(dim, 16) // BLOCK * BLOCK or dim
    expected = torch.zeros(gram.shape[0], dtype=torch.float64)
    expected[:used] = dim / used
    torch.testing.assert_close(gram, torch.diag(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 3, 6, 16, 64])
def test_noise_is_right_while_the_mean_drifts(dim: int) -> None:
    g = torch.Generator().manual_seed(0)
    steps, rows, sigma = 60, 4_000, 0.3
    drift = torch.linspace(3.0, 1.0, steps).reshape(-1, 1, 1) * torch.ones(dim)
    found = follow(drift + sigma * torch.randn(steps, rows, dim, generator=g))
    assert float(found.noise.mean()) == pytest.approx(dim * sigma**2, rel=0.05)
    assert float(found.energy.mean()) > 5 * float(found.noise.mean())
    assert float(found.agreement.mean()) > 0.5


def test_alternation_doubles_the_noise_and_turns_the_agreement() -> None:
    g = torch.Generator().manual_seed(0)
    direction = torch.randn(500, 16, generator=g)
    steps = torch.stack([direction * (-1.0) ** k for k in range(40)])
    found = follow(steps)
    torch.testing.assert_close(found.agreement.float(), -torch.ones(500), atol=0.01, rtol=0)
    torch.testing.assert_close(found.noise.float(), 2 * found.energy.float(), atol=0, rtol=0.02)


def test_repetition_is_no_noise() -> None:
    steady = torch.randn(1, 100, 16, generator=torch.Generator().manual_seed(0)).repeat(30, 1, 1)
    found = follow(steady)
    torch.testing.assert_close(found.agreement.float(), torch.ones(100), atol=0.01, rtol=0)
    assert bool((found.noise < 1e-3 * found.energy).all())


def test_pure_noise_neither_agrees_nor_alternates() -> None:
    found = follow(torch.randn(100, 1_500, 16, generator=torch.Generator().manual_seed(1)))
    assert abs(float(found.agreement.mean())) < 0.01
    assert float((found.noise / found.energy).mean()) == pytest.approx(1.0, abs=0.02)


def test_one_huge_gradient_does_not_pass_for_alternation() -> None:
    gradients = torch.randn(40, 300, 16, generator=torch.Generator().manual_seed(2))
    gradients[25] *= 1e4
    assert float(follow(gradients).agreement.min()) > -0.75
    gradients[25] /= 1e4
    assert float(follow(gradients).agreement.min()) > -0.75


def test_noise_is_that_of_one_example_whatever_the_multiplicity() -> None:
    g = torch.Generator().manual_seed(0)
    rows, dim = 400, 16
    noise = NoiseEnergy(rows, dim, CPU, 0)
    for step in range(40):
        times = 1 + step % 3
        ids = torch.arange(rows).repeat(times).tolist()
        feed(noise, ids, torch.randn(rows * times, dim, generator=g))
    assert float(noise.noise.mean()) == pytest.approx(dim, rel=0.05)


@pytest.mark.parametrize("examples", [1, 3, 8, 9, 23, 100, 470])
def test_the_examples_of_the_last_exposure_are_known_to_an_eighth(examples: int) -> None:
    clock = ExposureClock(4, CPU)
    known = clock.share[int(clock.times(torch.tensor([examples])))]
    off = 1e-6 if examples <= 8 else 1 / 8
    assert float(known) * examples == pytest.approx(1, abs=off)


def test_steps_within_autocast_are_taken_in_alike() -> None:
    gradients = torch.randn(40, 30, 16, generator=torch.Generator().manual_seed(0))
    plain = follow(gradients)
    with torch.autocast("cpu", torch.bfloat16):
        found = follow(gradients)
    assert torch.equal(found.words, plain.words)


def test_a_pair_across_a_pause_is_no_pair() -> None:
    gradients = torch.ones(2, 1, 8)
    noise = NoiseEnergy(1, 8, CPU, 0)
    ids = torch.tensor([0])
    take_in(noise, ids, gradients[0])
    noise.start_burst()
    take_in(noise, ids, -gradients[1])
    assert noise.exposures.tolist() == [1]
    assert noise.agreement.tolist() == [0.0]


def test_single_exposures_do_not_dilute_the_first_pair() -> None:
    noise = NoiseEnergy(1, 8, CPU, 0)
    ids = torch.tensor([0])
    for _ in range(6):
        take_in(noise, ids, torch.ones(1, 8))
        noise.start_burst()
    take_in(noise, ids, torch.ones(1, 8))
    take_in(noise, ids, -torch.ones(1, 8))
    assert float(noise.agreement) == pytest.approx(-1.0, abs=0.01)


def test_a_new_burst_outweighs_an_old_one() -> None:
    g = torch.Generator().manual_seed(0)
    rows, dim = 500, 16
    noise = NoiseEnergy(rows, dim, CPU, 0)
    ids = torch.arange(rows)
    for scale in (10.0, 1.0):
        noise.start_burst()
        for _ in range(16):
            take_in(noise, ids, scale * torch.randn(rows, dim, generator=g))
    # An average over all pairs alike would hold half of the old 100.
    assert float(noise.noise.mean()) < 0.3 * 100 * dim


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30])
@pytest.mark.parametrize("may_ask", [True, False])
def test_a_gradient_that_is_not_finite_leaves_every_state_finite(bad: float, may_ask: bool) -> None:
    noise = NoiseEnergy(4, 6, CPU, 0)
    noise._may_ask = may_ask
    g = torch.Generator().manual_seed(0)
    for step in range(20):
        values = torch.randn(3, 6, generator=g)
        if step in (7, 8, 15):
            values[1, step % 6] = bad
        assert feed(noise, [0, 2, 3], values) == (step in (7, 8, 15))
    for figure in (noise.noise, noise.energy, noise.agreement):
        assert bool(torch.isfinite(figure).all())
        assert float(figure.abs().max()) < 100
    # 17 finite exposures: those at 9 and 16 follow none.
    assert noise.exposures.tolist() == [20, 0, 15, 20]


def test_zero_gradients_are_neither_noise_nor_agreement() -> None:
    found = follow(torch.zeros(20, 5, 8))
    for figure in (found.noise, found.energy, found.agreement):
        assert figure.tolist() == [0.0] * 5
    assert found.exposures.tolist() == [20] * 5


def test_small_gradients_do_not_underflow() -> None:
    gradients = 1e-8 * torch.randn(60, 1_000, 16, generator=torch.Generator().manual_seed(0))
    assert float(follow(gradients).noise.mean()) == pytest.approx(16e-16, rel=0.1)


def test_the_count_stays_at_its_limit_and_the_averages_go_on() -> None:
    g = torch.Generator().manual_seed(0)
    noise = NoiseEnergy(50, 8, CPU, 0)
    ids = torch.arange(50)
    for step in range(160):
        scale = 1.0 if step < 100 else 3.0
        take_in(noise, ids, scale * torch.randn(50, 8, generator=g))
        if step > 50:
            assert 36 <= int(noise.exposures.min()) <= int(noise.exposures.max()) <= 40
    assert float(noise.noise.mean()) == pytest.approx(9 * 8, rel=0.15)


def test_state_is_16_bytes_a_row() -> None:
    noise = NoiseEnergy(1_000, 64, CPU, 0)
    assert noise.state.nbytes == 16_000


def test_arrays_are_kept_from_round_to_round_and_those_of_a_huge_batch_are_not() -> None:
    noise = NoiseEnergy(100, 8, CPU, 0)
    g = torch.Generator().manual_seed(0)
    sizes = list[int]()
    for size in (500, 300, 500, 70_000, 500):
        take_in(noise, torch.arange(size) % 100, torch.randn(100, 8, generator=g))
        sizes.append(noise._words.size)
    assert sizes == [500, 500, 500, 0, 500]
    assert noise.exposures.tolist() == [5] * 100


def test_views_are_of_the_state_and_no_copies() -> None:
    noise = NoiseEnergy(3, 4, CPU, 0)
    for view in (noise.energy, noise.noise, noise.agreement):
        assert view.untyped_storage().data_ptr() == noise.state.untyped_storage().data_ptr()


def test_a_tied_dense_gradient_is_one_total_a_row() -> None:
    """Rows of the batch that the dense gradient holds once are not counted as many times."""
    g = torch.Generator().manual_seed(0)
    rows, dim = 800, 8
    noise = NoiseEnergy(rows, dim, CPU, 0)
    ids = torch.arange(rows).repeat(2)
    for _ in range(30):
        take_in(noise, ids, math.sqrt(2) * torch.randn(rows, dim, generator=g))
    assert float(noise.noise.mean()) == pytest.approx(dim, rel=0.05)
