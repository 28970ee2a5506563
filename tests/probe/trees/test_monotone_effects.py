"""Effects that go one way are told from those that turn, and from what cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradtracer.analyzers import tree_figures
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.statistics.held_out_splits import borders, node_means
from gradtracer.statistics.monotone_effects import monotone_effects, movements

LIBRARIES = ("xgboost", "lightgbm", "catboost")
HOW: dict[str, Any] = {"rounds": 120, "rate": 0.2, "depth": 5}
_TRAINED = 700
Halves = Callable[..., Any]


def planted(seed: int, *, turning: bool, noise: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Two effects that rise, one that falls, or three that turn; five columns of noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3_000, 8))
    part = np.sin(3 * x[:, :3]) if turning else np.tanh(1.5 * x[:, :3])
    y = part @ np.array([1.5, 1.0, -1.5]) + noise * rng.normal(size=3_000)
    return x, y


def judged(train: Any, halves: Halves, library: str, x: Any, y: Any, **how: Any) -> Any:
    few = {"x": x[:_TRAINED], "y": y[:_TRAINED], "x_valid": x[_TRAINED:], "y_valid": y[_TRAINED:]}
    split = halves(x, y)._replace(**few)
    trained = train(library, split, **{**HOW, **how})
    return TreeDynamicsTracker(
        trained.model, evals=trained.evals, held_out=(split.x_valid, split.y_valid)
    )


def offered(tracker: Any) -> dict[str, Any] | None:
    for finding in tracker.findings():
        for fix in finding.fixes:
            if fix.fix == "constrain-monotone":
                assert finding.type == "OVERFITTING_ROUNDS"
                return fix.parameters
    return None


@pytest.mark.parametrize("library", LIBRARIES)
def test_effects_that_go_one_way_are_offered_with_the_best_round(
    train: Any, halves: Halves, library: str
) -> None:
    tracker = judged(train, halves, library, *planted(3, turning=False))
    given = offered(tracker)
    assert given is not None
    assert given["signs"].items() <= {"col0": 1, "col1": 1, "col2": -1}.items()
    assert given["columns"] == [f"col{place}" for place in range(8)]
    assert given["rounds"] == tracker.figures.divergence.best + 1
    assert given["library"] == library
    (finding,) = tracker.findings()
    (evidence,) = [each for each in finding.evidence if each.statistic == "turning_splits_loss"]
    assert evidence.p_value is not None and evidence.p_value < 0.01
    assert evidence.n == 2_000
    assert evidence.interval is not None and evidence.interval[0] > 0
    assert "falls with col2" in finding.action


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_effects_that_turn_are_not(train: Any, halves: Halves, library: str, seed: int) -> None:
    tracker = judged(train, halves, library, *planted(seed, turning=True))
    assert "OVERFITTING_ROUNDS" in {finding.type for finding in tracker.findings()}
    assert offered(tracker) is None


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_sound_training_is_not_even_asked(train: Any, halves: Halves, library: str) -> None:
    x, y = planted(1, turning=False, noise=0.3)
    figures = judged(train, halves, library, x, y, rounds=40, rate=0.1, depth=3).figures
    assert figures.monotone is None


@pytest.mark.parametrize("library", LIBRARIES)
def test_movements_are_those_of_each_split_on_the_way_down(
    train: Any, halves: Halves, library: str
) -> None:
    split = halves(*planted(3, turning=False))
    table = read_model(train(library, split, rounds=6, depth=3).model).table
    x = split.x_valid[:40]
    strict = library == "xgboost"
    base, moves = movements([table], 4, x, strict)
    expected, mean = np.zeros_like(moves), node_means(table)
    border = borders(table, strict=strict)
    for root in np.flatnonzero(table.depth == 0)[:4].tolist():
        for example in range(len(x)):
            at = root
            while (feature := int(table.feature[at])) >= 0:
                left, right = int(table.left[at]), int(table.right[at])
                below = left if np.float32(x[example, feature]) <= border[at] else right
                falls = int(mean[right] < mean[left])
                expected[falls, feature, example] += mean[below] - mean[at]
                at = below
    np.testing.assert_allclose(moves, expected, atol=1e-9)
    first = np.flatnonzero(table.depth == 0)[:4]
    np.testing.assert_allclose(base, mean[first].sum())


@pytest.mark.parametrize(
    ("metric", "n", "off"), [("mae", 1_500, 0.0), ("rmse", 150, 0.0), ("rmse", 1_500, 5.0)]
)
def test_what_cannot_be_compared_says_nothing(
    train: Any, halves: Halves, metric: str, n: int, off: float
) -> None:
    split = halves(*planted(1, turning=False))
    trained = train("xgboost", split, **HOW)
    told = trained.evals["valid"]["rmse"]
    best = int(np.argmin(told))
    ask: dict[str, Any] = {"strict": True, "metric": metric, "told": told[best] + off}
    tables = [read_model(trained.model).table]
    x, y = split.x_valid[:n], split.y_valid[:n]
    assert monotone_effects(tables, best + 1, x, y, **ask) is None
    ask |= {"metric": "rmse", "told": told[best]}
    x, y = split.x_valid, split.y_valid
    assert monotone_effects(tables, best + 1, x, y, **ask) is not None


def test_trees_beyond_what_is_kept_are_not_asked(
    train: Any, halves: Halves, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = judged(train, halves, "catboost", *planted(1, turning=False))
    assert tracker.figures.monotone is not None
    monkeypatch.setattr(tree_figures, "_EARLY", 0)
    assert judged(train, halves, "catboost", *planted(1, turning=False)).figures.monotone is None
