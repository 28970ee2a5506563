"""Advice on the training as a whole: raised where a training needs it, silent where not."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from advised import ADAM, ADAMW, advice, figures, trained
from torch import nn

import gradtracer
from gradtracer.diagnoses import learning_rate_too_high, missing_regularization, undertrained
from gradtracer.diagnoses.weight_decay import acts_within, decay_over, forgotten
from gradtracer.learning_curve import POINTS, Told, sense_of_held_out
from gradtracer.settings import Settings
from gradtracer.statistics.noise_floor import NoiseFloor
from gradtracer.statistics.trend import late_trend
from gradtracer_schemas import RunOutcome


def test_a_held_out_loss_that_turns_asks_for_the_decay_that_remembers_as_far(
    tmp_path: Path,
) -> None:
    found = trained(tmp_path, std=0.1, lr=3e-2, epochs=40)
    finding = found["MISSING_REGULARIZATION"]
    assert finding.evidence[0].statistic == "validation_rise"
    assert "while the training loss went on" in finding.premise
    assert "UNDERTRAINED" not in found


def test_a_run_that_ends_in_its_descent_is_told_so_and_a_settled_one_is_not(tmp_path: Path) -> None:
    short = trained(tmp_path / "short", std=0.1, lr=1e-3, epochs=8)
    assert short["UNDERTRAINED"].fixes[0].parameters == {"factor": 2}
    decayed = {"optimizer": "AdamW", "decay": 0.3, "std": 0.1}
    assert trained(tmp_path / "long", epochs=40, **decayed) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "raised"), [("finished", True), ("interrupted", False), ("failed", False)]
)
def test_a_run_that_was_broken_off_is_not_told_that_it_ended_too_soon(
    tmp_path: Path, outcome: RunOutcome, raised: bool
) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = gradtracer.watch(model, folder=str(tmp_path), publish=False, report_seconds=1e6)
    for step in range(60):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
        run.log(loss=1.0 - step / 100)
    run.finish(outcome)
    journal = next(tmp_path.rglob("events.jsonl")).read_text(encoding="utf-8")
    assert ("UNDERTRAINED" in journal) == raised


@pytest.mark.parametrize(("share", "raised"), [(1.01, True), (0.5, False)])
def test_a_loss_that_rises_again_asks_for_a_lower_rate(
    tmp_path: Path, share: float, raised: bool
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    inputs[:, 0] *= 3.0
    target = inputs[:, 1:].sum(1, keepdim=True) + 1e-3 * inputs[:, :1]
    model = nn.Linear(8, 1, bias=False)
    with torch.no_grad():
        model.weight[0, 0] = 0.0
    # Beyond 2 / curvature the steepest direction grows, slowly, while the others are learned.
    limit = 2.0 / float(torch.linalg.eigvalsh(2 * inputs.T @ inputs / 256)[-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=share * limit)
    run = gradtracer.watch(
        model, optimizer=optimizer, folder=str(tmp_path), publish=False, report_seconds=1e6
    )
    for step in range(600):
        loss = nn.functional.mse_loss(model(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            run.log(loss=loss)
    found = advice(run)
    assert ("LEARNING_RATE_TOO_HIGH" in found) == raised
    if raised:
        offer = found["LEARNING_RATE_TOO_HIGH"].fixes[0]
        assert offer.fix == "reduce-learning-rate" and offer.preferred
        assert offer.parameters["measured_lr"] == pytest.approx(share * limit)
        assert offer.parameters["lr"] < limit


# Without a training.


DESCENT = [math.exp(-t / 20) for t in range(20)]
SETTLED = [math.exp(-t / 2) for t in range(20)]
NOISY_DESCENT = [x + 0.02 * (-1) ** t for t, x in enumerate(DESCENT)]
"""Its last quarter is no trend: two neighbours and more are out of order."""
ENDED = [max(0.0, 1 - t / 15) for t in range(20)]
"""Falls until a quarter before the end, and no further."""
NOISE = np.random.default_rng(0).normal(0, 1e-3, 60)
TURN = [abs(t - 15) / 15 + x for t, x in zip(range(60), NOISE, strict=True)]
FALLING = [1 - t / 100 for t in range(60)]


@pytest.mark.parametrize(
    ("loss", "validation", "raised"),
    [
        (DESCENT, None, True),
        (SETTLED, None, False),
        (DESCENT, DESCENT, True),
        (SETTLED, DESCENT, True),
        (DESCENT, SETTLED[::-1], False),
        ([1.0] * 20, None, False),
        (DESCENT[:8], None, True),
        (DESCENT[:7], None, False),
        (DESCENT, NOISY_DESCENT, True),
        (ENDED, None, False),
        ([float("nan")] * 20, None, False),
    ],
)
def test_undertrained_goes_by_held_out_examples_first(
    loss: list[float], validation: list[float] | None, raised: bool
) -> None:
    seen = figures(loss, validation)
    assert (undertrained.examine(seen, Settings()) is not None) == raised
    assert undertrained.examine(seen._replace(ended=False), Settings()) is None


def test_a_training_loss_alone_is_told_as_the_weaker_sign() -> None:
    weak = undertrained.examine(figures(DESCENT), Settings())
    strong = undertrained.examine(figures(DESCENT, DESCENT), Settings())
    assert weak is not None and weak.severity == "information" and "weaker" in weak.implies
    assert strong is not None and strong.severity == "warning"


def test_a_turn_is_not_called_overfitting_where_training_turns_too_or_decay_acts() -> None:
    raised = missing_regularization.examine(figures(FALLING, TURN), Settings())
    assert raised is not None
    assert raised.fixes[0].parameters["weight_decay"] == decay_over(ADAM, 1600, 1.0)
    for silent in (figures(TURN, TURN), figures(FALLING, TURN, ADAMW), figures(FALLING, FALLING)):
        assert missing_regularization.examine(silent, Settings()) is None


def test_a_rising_loss_is_put_down_to_the_rate_unless_decay_acts() -> None:
    raised = learning_rate_too_high.examine(figures(TURN), Settings())
    assert raised is not None and raised.evidence[0].n == 60
    assert learning_rate_too_high.examine(figures(TURN, optimizer=ADAMW), Settings()) is None
    assert learning_rate_too_high.examine(figures(FALLING), Settings()) is None
    scheduled = ADAM._replace(lr=1e-5, base_lr=0.03)
    found = learning_rate_too_high.examine(figures(TURN, optimizer=scheduled), Settings())
    assert found is not None and found.fixes[0].parameters == {"lr": 0.01, "measured_lr": 0.03}


PLATEAU = [1.0, *(0.3 + NOISE)]


@pytest.mark.parametrize(
    ("change", "raised"),
    [
        ({}, True),
        ({"floor": NoiseFloor(0.12, 0.03, 24)}, False),
        ({"floor": None}, False),
        ({"optimizer": ADAM._replace(lr=1e-3)}, False),
        ({"loss": FALLING}, False),
        ({"loss": [-x for x in PLATEAU]}, False),
        ({"loss": PLATEAU[:8]}, False),
        ({"validation": PLATEAU}, True),
        ({"validation": TURN}, False),
    ],
)
def test_a_loss_at_the_floor_of_its_steps_asks_for_smaller_ones(
    change: dict[str, Any], raised: bool
) -> None:
    seen = figures(
        change.get("loss", PLATEAU), change.get("validation"), change.get("optimizer", ADAM)
    )
    seen = seen._replace(floor=change.get("floor", NoiseFloor(0.12, 0.01, 24)))
    found = learning_rate_too_high.examine(seen, Settings())
    assert (found is not None) == raised
    if found is not None:
        assert found.evidence[0].statistic == "noise_floor"
        assert found.fixes[0].parameters == {"lr": 0.003, "measured_lr": 0.01}
        assert found.severity == ("warning" if change else "information")


@pytest.mark.parametrize(("rate", "raised"), [(0.2, True), (0.003, False)])
def test_a_real_plateau_of_the_steps_own_making_is_found(
    tmp_path: Path, rate: float, raised: bool
) -> None:
    torch.manual_seed(0)
    truth, model = torch.randn(1, 40), nn.Linear(40, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    run = gradtracer.watch(
        model, optimizer=optimizer, folder=str(tmp_path), publish=False, report_seconds=1e6
    )
    for _ in range(30):
        losses: list[float] = []
        for _ in range(50):
            x = torch.randn(16, 40)
            y = x @ truth.T + 0.5 * torch.randn(16, 1)
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        run.log(loss=float(np.mean(losses)))
    assert ("LEARNING_RATE_TOO_HIGH" in advice(run)) == raised


def test_an_optimizer_without_a_decoupled_form_gets_the_words_and_no_edit() -> None:
    adagrad = ADAM._replace(name="Adagrad")
    found = missing_regularization.examine(figures(FALLING, TURN, adagrad), Settings())
    assert found is not None and [each.fix for each in found.fixes] == ["suppress"]
    assert "AdamW" in found.action


def test_no_training_or_held_out_noise_is_rarely_advised() -> None:
    random = np.random.default_rng(7)
    told = 0
    for _ in range(200):
        walk = list(1 + random.normal(0, 0.1, 30))
        seen = figures(walk, list(1 + random.normal(0, 0.1, 30)))
        told += learning_rate_too_high.examine(seen, Settings()) is not None
        told += missing_regularization.examine(seen, Settings()) is not None
    assert told <= 4


def test_decay_is_counted_in_time_constants() -> None:
    assert forgotten(ADAMW, 200) == pytest.approx(1.0)
    assert acts_within(ADAMW, 201) and not acts_within(ADAMW, 199)
    assert acts_within(ADAM._replace(weight_decay=1e-9), 1)
    sgd = ADAM._replace(name="SGD", coupled=False, momentum=0.9, weight_decay=0.5)
    assert forgotten(sgd, 20) == pytest.approx(1.0)
    weights = (1 - 1e-2 * decay_over(ADAM, 300, 3.0)) ** 300
    assert weights == pytest.approx(math.exp(-3), rel=0.2)


def test_late_trend_is_kendalls_test_and_sens_slope() -> None:
    values = np.random.default_rng(3).normal(0, 1, 32) - 0.4 * np.arange(32)
    found = late_trend(values[16:])
    assert found is not None and found.n == 8
    last = values[-8:]
    pairs = list(itertools.combinations(range(8), 2))
    slopes = sorted((last[j] - last[i]) / (j - i) for i, j in pairs)
    assert found.slope == pytest.approx((slopes[13] + slopes[14]) / 2)
    score = sum(np.sign(last[j] - last[i]) for i, j in pairs)
    orders = itertools.permutations(range(8))
    exact = np.mean([sum(np.sign(o[j] - o[i]) for i, j in pairs) <= score for o in orders])
    assert found.p_value == pytest.approx(float(exact))


def test_what_is_told_is_bounded_and_read_as_means() -> None:
    told = Told()
    for step in range(20_000):
        told.add(step, torch.tensor(float(step)))
    told.add(20_000, float("nan"))
    told.add(20_000, "no number")
    curve = told.curve("loss")
    assert curve is not None and len(curve.values) == POINTS
    assert len(told._points) <= 4096  # pyright: ignore[reportPrivateUsage]
    assert np.all(np.diff(curve.values) > 0)
    assert curve.values.mean() == pytest.approx(10_000, rel=0.02)
    assert Told().curve("loss") is None


@pytest.mark.parametrize(
    ("name", "sense"),
    [
        ("validation_loss", False),
        ("val_loss", False),
        ("val/auc", True),
        ("validation_ndcg_at_10", True),
        ("ndcg@10", True),
        ("hr_at_10", True),
        ("validation", False),
        ("eval_accuracy", True),
        ("test_rmse", False),
        ("accuracy", None),
        ("train_recall", None),
        ("value", None),
        ("testament", None),
        ("val_my_own", None),
        ("lr", None),
    ],
)
def test_which_metric_is_of_held_out_examples_is_told_by_its_name(
    name: str, sense: bool | None
) -> None:
    assert sense_of_held_out(name) is sense
