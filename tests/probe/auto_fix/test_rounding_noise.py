"""Numbers for stochastic rounding: each as likely as any other, whatever was drawn before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from gradtracer.auto_fix.rounding_noise import RoundingNoise


def noise(width: int, seed: int = 0) -> RoundingNoise:
    return RoundingNoise(width, torch.device("cpu"), seed)


def test_every_element_gets_every_number_alike_and_anew_at_each_step():
    drawn = noise(8)
    values = np.stack([drawn.draw(3).numpy() for _ in range(4_000)])
    for element in values.reshape(4_000, -1).T:
        assert stats.kstest(element / 65_536, "uniform").pvalue > 1e-4
        assert abs(np.corrcoef(element[:-1], element[1:])[0, 1]) < 4 / 4_000**0.5


def test_elements_of_a_step_have_numbers_of_their_own():
    assert noise(64).draw(1_024).unique().numel() >= 0.99 * 65_536
    assert noise(64).draw(1_000).unique().numel() == 64_000


@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 1), (70_000, 64), (3, 70_000)])
def test_any_batch_has_its_shape_and_range(rows: int, width: int):
    drawn = noise(width)
    for _ in range(50):
        found = drawn.draw(rows)
        assert found.shape == (rows, width)
        if rows:
            assert found[-1].min() >= 0
            assert found[-1].max() < 65_536


def test_one_seed_is_one_sequence():
    first, same, other = noise(8, 1), noise(8, 1), noise(8, 2)
    for _ in range(3):
        drawn = first.draw(5)
        assert torch.equal(drawn, same.draw(5))
        assert not torch.equal(drawn, other.draw(5))
