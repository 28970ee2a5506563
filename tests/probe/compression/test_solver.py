"""The solver against trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtracer.compression.solver import fewest_bytes, front, least_damage

Problem = tuple[list[list[int]], list[list[float]]]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    units = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    scale = draw(st.sampled_from([1e-9, 1.0, 1e6]))
    size = st.integers(1, 10_000)
    damage = st.integers(-100, 1000).map(lambda n: n * scale)
    return (
        [draw(st.lists(size, min_size=n, max_size=n)) for n in units],
        [draw(st.lists(damage, min_size=n, max_size=n)) for n in units],
    )


def every_choice(sizes: list[list[int]], damages: list[list[float]]) -> list[tuple[int, float]]:
    return [
        (
            sum(sizes[unit][at] for unit, at in enumerate(picks)),
            sum(damages[unit][at] for unit, at in enumerate(picks)),
        )
        for picks in itertools.product(*(range(len(each)) for each in sizes))
    ]


@settings(deadline=None, max_examples=60)
@given(problems(), st.floats(0, 1))
def test_least_damage_is_that_of_trying_everything(problem: Problem, share: float) -> None:
    sizes, damages = problem
    total = every_choice(sizes, damages)
    budget = int(min(b for b, _ in total) + share * (max(b for b, _ in total)))
    best = min(damage for size, damage in total if size <= budget)
    found = least_damage(sizes, damages, budget)
    assert found is not None
    assert found.bytes <= budget
    spread = max(1e-12, max(abs(d) for row in damages for d in row))
    assert found.damage == pytest.approx(best, abs=1e-6 * spread)


@settings(deadline=None, max_examples=40)
@given(problems())
def test_fewest_bytes_is_that_of_trying_everything(problem: Problem) -> None:
    sizes, damages = problem
    total = every_choice(sizes, damages)
    bound = float(np.median([damage for _, damage in total]))
    spread = max(1e-12, max(abs(d) for row in damages for d in row))
    bound += 1e-5 * spread
    best = min(size for size, damage in total if damage <= bound)
    found = fewest_bytes(sizes, damages, bound)
    assert found is not None
    assert found.bytes <= best
    assert found.damage <= bound + 1e-5 * spread


def test_what_cannot_be_had_is_none() -> None:
    assert least_damage([[10, 20], [5]], [[1.0, 0.0], [0.0]], 14) is None
    assert fewest_bytes([[10]], [[1.0]], 0.5) is None


def test_a_model_without_layers_has_the_empty_choice() -> None:
    found = least_damage([], [], 10)
    assert found is not None
    assert found.picks == ()


def test_no_point_of_the_front_is_beaten() -> None:
    g = np.random.default_rng(0)
    sizes = [sorted(g.integers(1, 1000, 6).tolist()) for _ in range(5)]
    damages = [sorted(g.random(6).tolist(), reverse=True) for _ in range(5)]
    found = front(sizes, damages, 12)
    assert len(found) >= 5
    assert [choice.bytes for choice in found] == sorted(choice.bytes for choice in found)
    drops = [choice.damage for choice in found]
    assert drops == sorted(drops, reverse=True)
    assert found[0].bytes == sum(min(each) for each in sizes)
