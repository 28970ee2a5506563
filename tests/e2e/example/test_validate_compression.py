"""What the compression example measures with is right where the answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

import compressed_forms
import compression_plot
import predicted_damage
import recommenders
import validate_compression
from gradtracer.compression.row_set import pack_rows
from gradtracer_schemas import Factor, LayerRecipe, Recipe, Tier


@pytest.fixture(scope="module")
def task() -> recommenders.Task:
    pairs = torch.tensor([[1, 1], [1, 2], [2, 3], [2, 1], [3, 2]])
    users, items = 4, 12

    def met(*held: tuple[int, int]) -> torch.Tensor:
        mask = torch.zeros(users, items, dtype=torch.bool)
        for user, item in held:
            mask[user, item] = True
        return mask

    history = torch.zeros(users, recommenders.LENGTH, dtype=torch.int64)
    history[1, -2:] = torch.tensor([1, 2])
    seen = met(*map(tuple, pairs.tolist()))
    return recommenders.Task(
        "planted", users, items, pairs, seen, met((1, 3), (2, 2)), met((1, 4)), history, history
    )


class Fixed(nn.Module):
    """Scores each item by its id."""

    def score_all(self, task: recommenders.Task) -> torch.Tensor:
        return torch.arange(task.items).float().expand(task.users, -1).clone()


def test_ndcg_ranks_what_is_not_hidden(task: recommenders.Task) -> None:
    # for user 1 the ids 11 to 3 stand before it but for those hidden; for user 2 id 3 is hidden too
    found = recommenders.validate(Fixed(), task)
    assert found.tolist() == pytest.approx([1 / np.log2(10), 1 / np.log2(10)])
    assert recommenders.test(Fixed(), task).tolist() == pytest.approx([1 / np.log2(9)])


@pytest.mark.parametrize("name", list(recommenders.TUNED))
def test_each_model_trains_and_scores_all(name: str, task: recommenders.Task) -> None:
    torch.manual_seed(0)
    setting = recommenders.TUNED[name]._replace(epochs=1, batch=2)
    model: Any = recommenders.train(setting, task, seed=0)
    scores = model.score_all(task)
    assert scores.shape == (task.users, task.items)
    assert torch.isfinite(scores).all()


def test_the_best_number_of_epochs_is_that_of_the_mean_over_seeds(
    task: recommenders.Task,
) -> None:
    setting = recommenders.TUNED["mf"]._replace(epochs=3, batch=2, lr=0.1)
    validated = [
        [
            float(recommenders.validate(recommenders.train(of, task, seed), task).mean())
            for of in (setting._replace(epochs=epochs) for epochs in (1, 2, 3))
        ]
        for seed in (0, 1)
    ]
    mean = np.mean(validated, axis=0)
    assert len(set(mean)) > 1
    found = recommenders.best_epoch(setting, task, (0, 1))
    assert found == (int(mean.argmax()) + 1, pytest.approx(mean.max()))


@pytest.mark.parametrize("models", [[], ["--models", "mf", "two-tower"], ["--models", "two-tower"]])
def test_a_setting_of_the_grid_is_of_one_model(
    models: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["validate_compression.py", *models, "--grid", "14", "3"])
    with pytest.raises(SystemExit):
        validate_compression.main()
    assert "--grid takes one of --models" in capsys.readouterr().err


def test_files_are_as_small_as_the_rows_that_they_hold() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(4000, 64)})
    full = compressed_forms.file_size(model)
    entry = LayerRecipe(
        quantization="INT4",
        factor=Factor(rank=32),
        tiers=[Tier(quantization="INT8", rows=pack_rows(np.arange(4000) < 100))],
        dropped=pack_rows(np.arange(4000) >= 3000),
    )
    held = compressed_forms.saved_bytes(model, Recipe(model="", layers={"table": entry}))
    rows = 100 * (32 + 8) + 2900 * (16 + 4) + 64 * (32 + 8) + 4000 // 4
    assert rows < held < rows + 1500
    assert 4000 * 64 * 4 < full < 4000 * 64 * 4 + 1500


def test_pruning_keeps_the_greatest_weights_that_fit() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"table": nn.Embedding(100, 64)})
    changed = compressed_forms.pruned(model, 4000)
    kept = changed.get_parameter("table.weight") != 0
    assert int(kept.sum()) == (4000 - 6400 // 8) // 2
    weight = model.get_parameter("table.weight")
    assert weight[kept].abs().min() >= weight[~kept].abs().max()


def test_a_table_of_results_tells_how_often_the_floor_held() -> None:
    def result(seed: int, ours: float) -> dict[str, object]:
        rows = {
            "ours": {"times": 8.0, "test": ours},
            "uniform INT4, min-max": {"times": 7.0, "test": 0.09 + 0.001 * seed},
            "magnitude pruning": {"times": 7.0, "test": 0.05},
        }
        return {"model": "mf", "seed": seed, "base": 0.1, "rows": rows, "seconds": 1.0}

    lines = validate_compression.table([result(0, 0.1), result(1, 0.099), result(2, 0.0996)])
    (ours,) = (line for line in lines.splitlines() if " ours " in line)
    assert "2 of 3" in ours
    assert "-0.47" in ours
    assert "recipe in 1 s of CPU" in lines


def test_a_line_of_predicted_damage_tells_the_worst_training_and_the_noise() -> None:
    def result(rank: float) -> dict[str, object]:
        seen = predicted_damage.Agreement(rank, 0.6, 0.85, 2)._asdict()
        figures = {"validation": seen, "test": seen, "cross_entropy": [0.4, 0.3]}
        return {**figures, "measured": 0.7, "candidates": 48}

    line = predicted_damage.line("mf", [result(0.9), result(0.96)])
    assert "48 candidates, 2 trainings: validation 0.93 (by cross-entropy 0.40; halves" in line
    assert "of its users 0.60, so other users at most 0.85" in line
    assert "least 0.90; test 0.93 (by cross-entropy 0.30" in line
    assert line.endswith("validation itself 0.70")


def test_the_plot_draws_every_way_that_was_measured(tmp_path: Path) -> None:
    matplotlib.use("Agg")

    def result(model: str, seed: int) -> dict[str, object]:
        rows = {
            row: {"times": 2.0 + at, "test": 0.1 - 0.001 * (at + seed)}
            for at, row in enumerate(compression_plot.STYLES)
        }
        return {"model": model, "seed": seed, "base": 0.1, "rows": rows}

    results = [result(model, seed) for model in ("mf", "two-tower") for seed in range(3)]
    compression_plot.plot(results, tmp_path / "plot.png", 0.995)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert len(set(compression_plot.STYLES.values())) == len(compression_plot.STYLES)


def test_the_ceiling_is_what_the_truth_itself_would_reach() -> None:
    g = np.random.default_rng(0)
    reached: list[float] = []
    told: list[float] = []
    truth = g.normal(size=60)
    for _ in range(20):
        truth = g.normal(size=60)
        lost = truth[:, None] + g.normal(scale=12.0, size=(60, 300))
        found = predicted_damage.agreement(truth, lost)
        reached.append(found.rank)
        told.append(found.ceiling)
    assert np.mean(reached) == pytest.approx(np.mean(told), abs=0.04)
    assert 0.7 < np.mean(told) < 0.9
    clear = predicted_damage.agreement(truth, truth[:, None] + g.normal(scale=0.01, size=(60, 300)))
    assert clear.ceiling > 0.99 and clear.told_apart >= 55
    noise = predicted_damage.agreement(truth, g.normal(size=(60, 300)))
    assert noise.told_apart < 15


def test_the_held_out_loss_is_that_of_the_films_held_out(task: recommenders.Task) -> None:
    # scores are ids: ids 11 to 3 stand for user 1, for user 2 without id 3
    ids = np.arange(task.items)

    def of(found: int, hidden: set[int]) -> float:
        ranked = [each for each in ids if each not in hidden]
        return float(np.log(np.exp(ranked).sum()) - found)

    expected = (of(3, {0, 1, 2}) + of(2, {0, 1, 3})) / 2
    assert float(recommenders.held_out_loss(Fixed(), task)) == pytest.approx(expected, rel=1e-5)
