"""Planted faults are found in every library, and what is sound is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradtracer.analyzers.booster_facts import BoosterFacts, Sample
from gradtracer.analyzers.metric_curves import Curve, choose, higher_is_better, is_training
from gradtracer.analyzers.tree_figures import TreeFigures, TreeTotals, measure, observation
from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.diagnoses import trees as examiners
from gradtracer.diagnoses.finding import Finding
from gradtracer.settings import Settings
from gradtracer.statistics.split_gain import GainTotals

LIBRARIES = ("xgboost", "lightgbm", "catboost")
Train = Callable[..., Any]
Types = Callable[[Any], set[str]]


def totals(velocity: np.ndarray, gain: np.ndarray | None = None) -> TreeTotals:
    made = TreeTotals(BoosterFacts("xgboost", "Booster"))
    made.velocity = velocity
    made.trees = velocity.size
    if gain is not None:
        nobody = np.zeros(gain.size, dtype=np.int64)
        made.gains = [GainTotals(np.tile(gain, (10, 1)), nobody, nobody, velocity.size)]
    return made


def curve(data: str, values: np.ndarray, metric: str = "rmse") -> Curve:
    return Curve(data, metric, values, higher_is_better(metric))


def figures(
    velocity: np.ndarray | None = None,
    gain: np.ndarray | None = None,
    training: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    **facts: Any,
) -> TreeFigures:
    velocity = np.full(200, 0.1) if velocity is None else velocity
    width = 1 if gain is None else gain.size
    return measure(
        "booster",
        BoosterFacts("xgboost", "Booster", **facts),
        [f"col{i}" for i in range(width)],
        totals(velocity, gain),
        None if training is None else curve("train", training),
        None if validation is None else curve("valid", validation),
        alone_share=0.9,
    )


def found(made: TreeFigures, **settings: Any) -> dict[str, Finding]:
    return {each.type: each for each in examiners.examine(made, Settings(**settings))}


T = np.arange(200)
NOISE = 0.001 * np.random.default_rng(0).normal(size=200)
TURNING = np.where(T < 80, 1 - T / 100, 0.2 + (T - 80) / 400) + NOISE
FALLING = np.exp(-T / 80)


def test_validation_that_turns_while_training_falls_is_overfitting() -> None:
    finding = found(figures(training=FALLING, validation=TURNING))["OVERFITTING_ROUNDS"]
    rise, best = finding.evidence
    assert rise.p_value is not None and rise.p_value < 0.01
    assert best.interval is not None and best.interval[0] <= 81 <= best.interval[1]
    early, rounds, last = finding.fixes
    assert early.parameters["parameter"] == "early_stopping_rounds" and early.preferred
    assert rounds.parameters == {
        "parameter": "num_boost_round",
        "value": best.value,
        "library": "xgboost",
    }
    assert last.fix == "suppress"
    assert "while train went on from" in finding.premise


@pytest.mark.parametrize(
    ("training", "validation", "facts"),
    [
        (FALLING, FALLING, {}),
        (TURNING, TURNING, {}),
        (FALLING, TURNING, {"stops_early": True}),
        (FALLING, 0.2 + 0.8 * np.exp(-T / 20) + NOISE, {}),
    ],
)
def test_no_overfitting_without_a_turn_of_validation_alone(
    training: np.ndarray, validation: np.ndarray, facts: dict[str, Any]
) -> None:
    made = figures(training=training, validation=validation, **facts)
    assert "OVERFITTING_ROUNDS" not in found(made)


@pytest.mark.parametrize("stops_early", [False, True])
def test_early_stopping_by_the_training_data_is_no_remedy(stops_early: bool) -> None:
    made = figures(
        training=FALLING, validation=TURNING, stops_early=stops_early, stops_by_training=True
    )
    finding = found(made)["OVERFITTING_ROUNDS"]
    assert finding.action.startswith("Put valid last")
    rounds, last = finding.fixes
    assert rounds.parameters["parameter"] == "num_boost_round" and rounds.preferred
    assert last.fix == "suppress"


@pytest.mark.parametrize("rise", [0.013, 0.007])
def test_a_squared_error_is_judged_as_its_root(rise: float) -> None:
    error = np.where(T < 80, 1 - 0.99 * T / 80, 0.01 + 0.99 * rise * (T - 80) / 119)
    verdicts: list[list[str]] = []
    for values, metric in ((error, "rmse"), (error**2, "l2")):
        made = measure(
            "booster",
            BoosterFacts("lightgbm", "Booster"),
            [],
            totals(np.full(200, 0.1)),
            None,
            curve("valid", values, metric),
        )
        assert made.divergence is not None and made.divergence.p_value < 0.01
        verdicts.append(list(found(made)))
        for finding in found(made).values():
            assert finding.evidence[0].value == pytest.approx(0.99 * rise)
    assert verdicts == [["OVERFITTING_ROUNDS"] if rise > 0.01 else []] * 2
    assert (error[-1] ** 2 - error[80] ** 2) < 0.01 * error[0] ** 2


def test_a_metric_of_unknown_sense_is_shown_and_not_judged() -> None:
    made = measure(
        "booster",
        BoosterFacts("xgboost", "Booster"),
        [],
        totals(np.full(200, 0.1)),
        None,
        curve("valid", TURNING, "my_own"),
    )
    assert found(made) == {}
    assert observation(made).values["validation"] == pytest.approx(TURNING[-1])


def test_rounds_that_move_nothing_are_stagnant_and_name_what_holds_them() -> None:
    dying = np.exp(-T / 10)
    plain = found(figures(dying))["STAGNANT_LEAVES"]
    assert plain.fixes[0].parameters["parameter"] == "num_boost_round"
    assert plain.fixes[0].parameters["value"] < 100
    held = found(figures(dying, parameters={"min_split_gain": 5.0}))["STAGNANT_LEAVES"]
    assert held.fixes[0].parameters == {
        "parameter": "min_split_gain",
        "value": 0,
        "library": "xgboost",
        "measured": 5.0,
    }
    assert "min_split_gain=5" in held.implies


def test_rounds_that_went_past_are_no_model_to_cut() -> None:
    finding = found(figures(np.exp(-T / 10), parameters={"learning_rate": 3.0}))["STAGNANT_LEAVES"]
    assert [offer.parameters.get("parameter") for offer in finding.fixes] == ["learning_rate", None]
    assert finding.fixes[0].parameters["value"] == 0.1 and finding.fixes[0].preferred
    assert "learning_rate=3" in finding.implies
    whole = found(figures(np.exp(-T / 10), parameters={"learning_rate": 1.0}))["STAGNANT_LEAVES"]
    assert whole.fixes[0].parameters["parameter"] == "num_boost_round"


@pytest.mark.parametrize("velocity", [np.full(200, 0.1), np.exp(-T / 80), 1 / (1.0 + T)])
def test_steps_that_shrink_as_they_should_are_not_stagnant(velocity: np.ndarray) -> None:
    assert "STAGNANT_LEAVES" not in found(figures(velocity))


def test_steps_that_grow_are_an_explosion_and_hide_its_consequences() -> None:
    made = figures(np.exp(T / 20), training=FALLING, validation=TURNING)
    findings = found(made)
    assert set(findings) == {"EXPLODING_LEAVES"}
    assert findings["EXPLODING_LEAVES"].fixes[0].parameters["value"] == 0.1
    slow = found(figures(np.exp(T / 20), parameters={"learning_rate": 0.05}))
    assert slow["EXPLODING_LEAVES"].fixes[0].parameters["value"] == 0.005


def test_one_feature_above_all_others_is_concentration() -> None:
    finding = found(figures(gain=np.array([8.0, *[0.2] * 10])))["SPLIT_CONCENTRATION"]
    assert finding.evidence[0].value == pytest.approx(0.8)
    assert finding.fixes[0].parameters["parameter"] == "colsample_bytree"
    halved = figures(gain=np.array([8.0, *[0.2] * 10]), parameters={"colsample_bytree": 0.5})
    assert [offer.fix for offer in found(halved)["SPLIT_CONCENTRATION"].fixes] == ["suppress"]


def test_columns_left_out_already_are_not_advised_again() -> None:
    gain = np.array([90.0, *[1.0] * 9])
    made = figures(gain=gain, parameters={"colsample_bytree": 0.5})
    finding = found(made)["SPLIT_CONCENTRATION"]
    assert [offer.fix for offer in finding.fixes] == ["suppress"]
    assert "With colsample_bytree=0.5 trees grow without it already" in finding.action


def test_a_parameter_is_told_by_the_name_that_the_library_has_for_it() -> None:
    made = figures(gain=np.array([90.0, *[1.0] * 9]))
    made.facts.library = "catboost"
    assert "without it: rsm=0.5" in found(made)["SPLIT_CONCENTRATION"].action


@pytest.mark.parametrize("gain", [[4.0, *[1.0] * 6], [9.0, 1.0], [1.0]])
def test_a_strong_feature_among_few_is_not(gain: list[float]) -> None:
    assert "SPLIT_CONCENTRATION" not in found(figures(gain=np.array(gain)))


def leak(target: np.ndarray, column: np.ndarray) -> Sample:
    return Sample(lambda _: column, target, classes=True)


def test_a_feature_that_gives_the_target_away_is_a_leak_and_explains_the_rest() -> None:
    y = np.random.default_rng(0).integers(0, 2, 2_000)
    dying, gain = np.exp(-T / 10), np.array([99.0, 0.5, 0.5])
    findings = found(figures(dying, gain, sample=leak(y, y + 0.0)))
    assert set(findings) == {"TARGET_LEAKAGE"}
    assert findings["TARGET_LEAKAGE"].evidence[1].n == 2_000
    assert [offer.fix for offer in findings["TARGET_LEAKAGE"].fixes] == [
        "leave-out-column",
        "suppress",
    ]
    noisy = leak(y, y + np.random.default_rng(1).normal(size=2_000))
    assert "TARGET_LEAKAGE" not in found(figures(dying, gain, sample=noisy))


def test_without_examples_the_validation_metric_must_all_but_vanish() -> None:
    gain = np.array([99.0, 0.5, 0.5])
    assert "TARGET_LEAKAGE" in found(figures(gain=gain, validation=0.001 + 0.999 * FALLING**9))
    assert "TARGET_LEAKAGE" not in found(figures(gain=gain, validation=0.4 + 0.6 * FALLING))
    assert "TARGET_LEAKAGE" not in found(figures(gain=gain))


def test_a_tail_without_effect_is_redundant_with_its_measured_loss() -> None:
    flat = 0.2 + 0.8 * np.exp(-T / 8)
    finding = found(figures(training=flat, validation=flat))["REDUNDANT_TREES"]
    (evidence,) = finding.evidence
    assert 0 <= evidence.value < 0.002
    kept = finding.fixes[0].parameters["value"]
    assert 40 < kept < 100
    assert found(figures(validation=flat, stops_early=True)) == {}
    assert found(figures(validation=1.0 - T / 400)) == {}


# Seeds below were looked at for the first time by these tests.


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_planted_leak_is_found(library: str, train: Train, types: Types, smooth: Any) -> None:
    split = smooth(1001)
    y, y_valid = (split.y > 0).astype(int), (split.y_valid > 0).astype(int)
    rng = np.random.default_rng(1001)
    x, x_valid = split.x.copy(), split.x_valid.copy()
    x[:, 7] = y + 0.05 * rng.normal(size=y.size)
    x_valid[:, 7] = y_valid + 0.05 * rng.normal(size=y.size)
    leaky = type(split)(x, y, x_valid, y_valid)
    assert "TARGET_LEAKAGE" in types(train(library, leaky, binary=True))
    sound = type(split)(split.x, y, split.x_valid, y_valid)
    assert "TARGET_LEAKAGE" not in types(train(library, sound, binary=True))


@pytest.mark.parametrize("library", LIBRARIES)
def test_planted_overfitting_is_found(
    library: str, train: Train, types: Types, smooth: Any
) -> None:
    noisy = smooth(1002, n=600, noise=3.0)
    assert "OVERFITTING_ROUNDS" in types(train(library, noisy, rounds=150, rate=0.2, depth=6))


@pytest.mark.parametrize("library", LIBRARIES)
def test_planted_stagnation_is_found(library: str, train: Train, types: Types, halves: Any) -> None:
    """Three switches and no noise: a few rounds learn them to the end."""
    x = np.random.default_rng(1003).integers(0, 2, size=(2_000, 4)).astype(float)
    y = x[:, :3].sum(axis=1) - 1.5
    steps = halves(x, y)
    assert "STAGNANT_LEAVES" in types(train(library, steps, rounds=100, rate=0.3))


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_judged_is_the_same_in_every_unit_of_the_target(
    library: str, train: Train, types: Types, smooth: Any
) -> None:
    split = smooth(1005, n=600, noise=3.0)
    larger = type(split)(split.x, 1_000 * split.y, split.x_valid, 1_000 * split.y_valid)
    how = {"rounds": 80, "rate": 0.2, "depth": 5}
    small, large = train(library, split, **how), train(library, larger, **how)
    assert types(small) == types(large)
    one = TreeDynamicsTracker(small.model, evals=small.evals).figures
    other = TreeDynamicsTracker(large.model, evals=large.evals).figures
    assert other.velocity == pytest.approx(1_000 * one.velocity, rel=0.02)
    assert other.late is not None and one.late is not None
    assert other.late.value == pytest.approx(one.late.value, rel=0.02)
    assert other.growth is not None and one.growth is not None
    assert other.growth.rate == pytest.approx(one.growth.rate, abs=2e-3)
    assert other.shares is not None and one.shares is not None
    assert other.shares.share == pytest.approx(one.shares.share, abs=0.02)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_sound_training_is_left_alone(
    library: str, train: Train, types: Types, smooth: Any
) -> None:
    assert types(train(library, smooth(1004, n=4_000), rounds=60)) == set()


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("rmse", False), ("auc", True), ("logloss", False), ("ndcg@5", True), ("map", True),
        ("binary_logloss", False), ("multi_error", False), ("error@0.7", False), ("l2", False),
        ("Logloss", False), ("AUC", True), ("Accuracy", True), ("MultiClass", False),
        ("PRAUC", True), ("NDCG:top=5", True), ("aucpr", True), ("mlogloss", False),
        ("merror", False), ("QuerySoftMax", None), ("my_own", None), ("R2", True),
        ("average_precision", True), ("poisson-nloglik", False), ("pre@3", True), ("ndcg-", True),
    ],
)  # fmt: skip
def test_the_sense_of_a_metric_is_known_by_its_name(metric: str, higher: bool | None) -> None:
    assert higher_is_better(metric) is higher


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("train", True), ("training", True), ("learn", True), ("dtrain", True),
        ("valid", False), ("validation_0", False), ("test", False), ("strain", False),
    ],
)  # fmt: skip
def test_the_training_data_is_known_by_its_name(name: str, training: bool) -> None:
    assert is_training(name) is training


def test_the_curve_is_the_one_that_early_stopping_looks_at() -> None:
    series = {
        "train": {"rmse": [3.0, 2.0], "mae": [1.0, 0.5]},
        "valid": {"rmse": [3.0, 2.5], "mae": [(1.0, 0.1), (0.7, 0.1)]},
    }
    training, validation = choose(series, last=True)
    assert training is not None and validation is not None
    assert (training.data, training.metric) == ("train", "mae")
    assert validation.values.tolist() == [1.0, 0.7]
    assert choose({"eval": {"rmse": [1.0]}}, training="eval")[1] is None
    assert choose({}) == (None, None)
