"""Advice on the training as a whole: raised where a training needs it, silent where not."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradtracer
from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.analyzers.training_figures import TableStart, TrainingFigures
from gradtracer.diagnoses import learning_rate_too_high, missing_regularization, undertrained
from gradtracer.diagnoses.finding import Finding
from gradtracer.diagnoses.weight_decay import LARGEST, acts_within, decay_over, forgotten
from gradtracer.learning_curve import POINTS, Curve, Told, sense_of_held_out
from gradtracer.settings import Settings
from gradtracer.statistics.noise_floor import NoiseFloor
from gradtracer.statistics.start_share import StartSample, StartShare
from gradtracer.statistics.trend import late_trend

USERS, ITEMS, DIM = 400, 300, 16
ADAM = OptimizerFacts("Adam", 1e-2, 0.0, coupled=True, base_lr=1e-2, adaptive=True)
ADAMW = ADAM._replace(name="AdamW", coupled=False, weight_decay=0.5)


class Scores(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.user_emb = nn.Embedding(USERS, DIM)
        self.item_emb = nn.Embedding(ITEMS, DIM)
        if std != 1.0:
            for table in (self.user_emb, self.item_emb):
                nn.init.normal_(table.weight, std=std)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return (self.user_emb(users) * self.item_emb(items)).sum(-1)


def choices(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`[users, 40]` items by taste and Zipf's law, and negatives for the last 8 of them."""
    g = torch.Generator().manual_seed(seed)
    taste = torch.randn(USERS, 4, generator=g) @ torch.randn(4, ITEMS, generator=g)
    liked = torch.softmax(taste - torch.log(torch.arange(1.0, ITEMS + 1)), dim=1)
    items = torch.multinomial(liked, 40, replacement=True, generator=g)
    return items, torch.randint(ITEMS, (USERS * 8, 4), generator=g)


def loss_of(
    model: Scores, users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor
) -> torch.Tensor:
    scores = model(users[:, None], torch.cat([items[:, None], negatives], dim=1))
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1.0
    return nn.functional.binary_cross_entropy_with_logits(scores, labels)


def trained(
    tmp_path: Path,
    *,
    optimizer: str = "Adam",
    lr: float = 1e-2,
    decay: float = 0.0,
    std: float = 1.0,
    epochs: int = 20,
    seed: int = 0,
    told: bool = True,
    model: Scores | None = None,
) -> dict[str, Finding]:
    """What the tests say at the end of a real training, by type."""
    torch.manual_seed(seed)
    chosen, negatives = choices(seed)
    users = torch.arange(USERS)[:, None].expand(-1, 40)
    seen = users[:, :32].reshape(-1), chosen[:, :32].reshape(-1)
    held_out = users[:, 32:].reshape(-1), chosen[:, 32:].reshape(-1), negatives
    model = Scores(std) if model is None else model
    built = getattr(torch.optim, optimizer)(model.parameters(), lr=lr, weight_decay=decay)
    run = gradtracer.watch(
        model, optimizer=built, folder=str(tmp_path), publish=False, report_seconds=1e6
    )
    for _ in range(epochs):
        losses: list[float] = []
        for batch in torch.randperm(len(seen[0])).split(256):
            drawn = torch.randint(ITEMS, (len(batch), 4))
            loss = loss_of(model, seen[0][batch], seen[1][batch], drawn)
            built.zero_grad()
            loss.backward()
            built.step()
            losses.append(loss.item())
        if told:
            with torch.no_grad():
                validation = loss_of(model, *held_out)
            run.log(loss=float(np.mean(losses)), validation_loss=validation)
    return advice(run)


def advice(run: gradtracer.Run) -> dict[str, Finding]:
    """What the tests say at the end, which is what the stream says."""
    run.flush()
    (tracker,) = [each for each in run.trackers if isinstance(each, TrainingTracker)]
    found = tracker.findings(tracker.figures(ended=True))
    run.finish()
    assert {each.type for each in tracker.diagnoses} == {each.type for each in found}
    return {each.type: each for each in found}


def test_tables_that_unlearn_their_random_start_are_told_of_decay(tmp_path: Path) -> None:
    finding = trained(tmp_path, told=False)["MISSING_REGULARIZATION"]
    assert {each.unit.rpartition(" ")[2] for each in finding.evidence} <= {"user_emb", "item_emb"}
    offer = finding.fixes[0]
    assert offer.fix == "set-weight-decay" and offer.preferred
    # 1,000 steps at lr 1e-2: exp(-3) of the first values is then left.
    assert offer.parameters == {
        "weight_decay": 0.3,
        "measured_decay": 0.0,
        "optimizer": "AdamW",
    }


@pytest.mark.parametrize(
    "setting",
    [
        {"optimizer": "AdamW", "decay": 0.3},
        {"optimizer": "Adam", "decay": 1e-4},
        {"std": 0.1},
    ],
)
def test_no_decay_is_asked_of_a_training_that_has_it_or_began_small(
    tmp_path: Path, setting: dict[str, float]
) -> None:
    found = trained(tmp_path, told=False, **setting)  # type: ignore[arg-type]
    assert "MISSING_REGULARIZATION" not in found


def test_a_table_that_was_trained_before_has_no_random_start(tmp_path: Path) -> None:
    model = Scores(1.0)
    with torch.no_grad():
        for table in (model.user_emb, model.item_emb):
            # What a trained table looks like: a few directions hold most of it.
            table.weight.mul_(torch.linspace(2.0, 0.02, DIM))
    assert trained(tmp_path, told=False, model=model) == {}


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


def figures(
    loss: list[float] | None = None,
    validation: list[float] | None = None,
    optimizer: OptimizerFacts = ADAM,
    ended: bool = True,
) -> TrainingFigures:
    def curve(name: str, values: list[float] | None) -> Curve | None:
        if values is None:
            return None
        steps = np.arange(100, 100 * len(values) + 1, 100, dtype=np.float64)
        return Curve(name, steps, np.array(values))

    return TrainingFigures(
        step=100 * len(loss or validation or [0]),
        total_steps=None,
        ended=ended,
        optimizer=optimizer,
        loss=curve("loss", loss),
        validation=curve("validation_loss", validation),
    )


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


def carried(lr: float, steps: int) -> Finding:
    """What is said of a table that carries its first values."""
    adam = ADAM._replace(lr=lr, base_lr=lr)
    share = StartShare(taken_back=0.5, error=0.01, left=0.4, rows=500)
    seen = figures(optimizer=adam)._replace(
        step=steps, starts=(TableStart("item_emb", share, adam),)
    )
    found = missing_regularization.examine(seen, Settings())
    assert found is not None
    return found


def test_a_large_number_is_told_with_what_it_comes_to() -> None:
    found = carried(1e-3, 1_920)
    assert found.fixes[0].parameters["weight_decay"] == 2.0
    assert "at 0.001 a step takes 0.2 % of each weight" in found.action
    assert "AdamW's default of 0.01 would take 1.9 % in 1,920 steps" in found.action
    assert found.expected_effect.startswith("2.1 % of the first values are left after 1,920 steps")


def test_no_decay_is_proposed_that_would_hold_weights_below_what_tables_begin_with() -> None:
    found = carried(1e-4, 2_000)
    assert found.fixes[0].parameters["weight_decay"] == LARGEST
    assert found.expected_effect.startswith("14 % of the first values are left after 2,000 steps")
    # AdamW itself: pulled one way at every step, a weight comes to rest at 1 / decay.
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-2, weight_decay=LARGEST)
    for _ in range(200):
        weight.grad = torch.tensor([-3.0])
        optimizer.step()
    assert weight.item() == pytest.approx(1 / LARGEST, rel=0.01)


def test_where_steps_are_too_small_for_any_decay_none_is_proposed() -> None:
    found = carried(1e-5, 2_000)
    assert [each.fix for each in found.fixes] == ["suppress"]
    assert found.action.startswith("At a learning rate of 1e-5, 2,000 steps are too few for any")


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


@pytest.mark.parametrize("back", [0.0, 0.3, 0.9])
def test_start_share_is_the_squared_cosine_with_the_first_values(back: float) -> None:
    g = torch.Generator().manual_seed(1)
    start = torch.randn(200, 8, generator=g)
    sample = StartSample(start.clone(), seed=0)
    now = (1 - back) * start + 0.5 * torch.randn(200, 8, generator=g)
    counts = np.arange(200) % 2
    found = sample.read(now, counts)
    assert found is not None and found.rows == 100
    a, b = start[1::2].double().flatten(), now[1::2].double().flatten()
    cosine = float((-a * (b - a)).sum() / (a.norm() * (b - a).norm()))
    assert found.taken_back == pytest.approx(max(0.0, cosine) ** 2, abs=1e-6)
    assert found.left == pytest.approx(float((a @ b) / (a.norm() * b.norm())) ** 2, abs=1e-6)
    low, high = found.interval
    assert low <= found.taken_back <= high and high - low < 0.2


def test_start_share_says_nothing_where_it_cannot_know() -> None:
    start = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    sample = StartSample(start.clone(), seed=0)
    used = np.ones(200, dtype=np.int64)
    assert sample.read(start, used) is None
    assert sample.read(start * float("nan"), used) is None
    assert sample.read(0.5 * start, used * 0) is None
    zeros = StartSample(torch.zeros(200, 8), seed=0)
    assert zeros.read(start, used) is None
    whole = sample.read(torch.zeros(200, 8), used)
    assert whole is None
    one = StartSample(torch.randn(1, 8), seed=0)
    assert one.read(torch.randn(1, 8), used[:1]) is None


def test_a_large_table_keeps_a_bounded_sample_of_all_its_rows() -> None:
    sample = StartSample(torch.zeros(300_000, 2), seed=0)
    assert len(sample.rows) == 1024
    assert int(sample.rows.max()) < 300_000 and int(sample.rows.max()) > 200_000


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
