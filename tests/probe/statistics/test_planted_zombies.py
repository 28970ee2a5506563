"""Planted zombie rows, found through a tracker in a training as a user writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from planted import FIVE_KINDS, ExposureLaw, Kind, OptimizerName, Planted, PlantedTraining, score

from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.statistics.zombie_rows import MIN_EXPOSURES


def judge(
    plan: Planted, folder: Path, steps: int | None = None
) -> tuple[PlantedTraining, list[int]]:
    torch.manual_seed(0)
    settings = Settings(publish=False, report_seconds=1e6)
    with Run(root=folder, settings=settings) as run:
        training = PlantedTraining(plan)
        tracker = training.watch(run)
        training.train(steps)
        named = tracker.zombie_embeddings()
        exposures = tracker._observer.noise.exposures.numpy()
        training.tested = exposures >= MIN_EXPOSURES
    return training, named


@pytest.mark.parametrize(("kind", "optimizer"), FIVE_KINDS)
def test_planted_rows_are_found_when_every_step_is_followed(
    kind: Kind, optimizer: OptimizerName, tmp_path: Path
) -> None:
    plan = Planted(kind=kind, optimizer=optimizer, exposure="half-uniform", rows=800, look_ups=300)
    training, named = judge(plan, tmp_path)
    found = score(training.truth, named, training.tested)
    # Names drawn at random would have an F1 of 0.05.
    assert found.f1 > 0.85
    assert found.false_share <= 0.01


@pytest.mark.parametrize(("kind", "optimizer"), [("contradictory", "sgd"), ("alternating", "adam")])
def test_planted_rows_are_found_in_bursts_of_one_step_in_twenty(
    kind: Kind, optimizer: OptimizerName, tmp_path: Path
) -> None:
    plan = Planted(
        kind=kind, optimizer=optimizer, exposure="half-uniform", rows=800, track_interval=20
    )
    training, named = judge(plan, tmp_path)
    found = score(training.truth, named, training.tested)
    assert found.f1 > 0.8
    assert found.false_share <= 0.01


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sparse_adam", "adagrad"])
@pytest.mark.parametrize("exposure", ["zipf", "half-uniform"])
def test_healthy_tables_have_nobody_to_name(
    optimizer: OptimizerName, exposure: ExposureLaw, tmp_path: Path
) -> None:
    """Also long after convergence, under a constant learning rate."""
    plan = Planted(kind="none", optimizer=optimizer, exposure=exposure, rows=800, look_ups=150)
    training, named = judge(plan, tmp_path)
    assert len(named) <= 0.01 * training.truth.size


def test_a_table_that_has_only_begun_to_learn_has_nobody_to_name(tmp_path: Path) -> None:
    plan = Planted(kind="none", optimizer="sgd", exposure="half-uniform", rows=800)
    _, named = judge(plan, tmp_path, steps=40)
    assert len(named) <= 8


def test_the_plan_plants_what_it_says() -> None:
    training = PlantedTraining(Planted(kind="alternating", rows=400, share=0.1))
    assert int(training.truth.sum()) == 40
    row = int(np.flatnonzero(training.truth)[0])
    labels = []
    while len(labels) < 6:
        ids, _, label, _ = training._draw()
        if bool((ids == row).any()):
            labels.append(float(label[ids == row][0]))
    assert labels in ([1.0, -1.0] * 3, [-1.0, 1.0] * 3)
