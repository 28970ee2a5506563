"""Plots by matplotlib, and the run in a notebook: what they show is what was measured."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

import gradtracer
from gradtracer import plots
from gradtracer.notebook import run_html
from gradtracer.run import Run

matplotlib.use("Agg")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(500, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.item_emb(ids)).squeeze(-1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A trained model of which 20 rows of 500 get nine look-ups in ten."""
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    run = gradtracer.watch(net, optimizer=optimizer, track_interval=1)
    for _ in range(60):
        ids = torch.cat([torch.randint(0, 20, (230,)), torch.randint(0, 400, (26,))])
        optimizer.zero_grad()
        net(ids).square().mean().backward()
        optimizer.step()
    # A diagnosis is raised when two reports in a row found it.
    run.flush()
    run.flush()
    yield run  # type: ignore[misc]
    run.finish()
    pyplot.close("all")


def table(run: Run) -> gradtracer.EmbeddingTracker:
    (found,) = [each for each in run.trackers if isinstance(each, gradtracer.EmbeddingTracker)]
    return found


def test_lorenz_curve_lies_below_equal_use(run: Run) -> None:
    axes = plots.lorenz(table(run))
    _, curve = axes.get_lines()
    x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    assert (y[0], y[-1]) == (0, 1)
    assert (y <= x + 1e-9).all()
    gini = table(run).popularity_bias()["gini"]
    assert axes.get_title() == f"item_emb: Gini {gini:.2f}"
    assert gini > 0.7


def test_rows_by_state_add_up(run: Run) -> None:
    axes = plots.rows_by_state(table(run))
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert sum(widths) == 500
    assert widths[-1] == table(run).summary()["dead_count"]
    assert widths[-1] >= 100


def test_plot_is_drawn_on_the_axes_given(run: Run) -> None:
    from matplotlib import pyplot

    _, (left, right) = pyplot.subplots(1, 2)
    assert plots.lorenz(table(run), ax=left) is left
    assert plots.rows_by_state(table(run), ax=right) is right


def test_layers_are_drawn_with_their_update_ratio(run: Run) -> None:
    trackers = [each for each in run.trackers if isinstance(each, gradtracer.FlowTracker)]
    assert trackers
    axes = plots.layer_health(trackers[0])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "head" in labels
    ratio = axes.patches[labels.index("head")].get_width()  # type: ignore[attr-defined]
    assert 0 < ratio < 1


def test_rounds_of_an_ensemble_are_drawn(run: Run) -> None:
    import xgboost

    x = np.random.default_rng(0).normal(size=(300, 3))
    booster = xgboost.train({"verbosity": 0}, xgboost.DMatrix(x, label=x[:, 0]), 7)
    axes = plots.rounds(gradtracer.TreeDynamicsTracker(booster))
    (line,) = axes.get_lines()
    assert len(np.asarray(line.get_ydata())) == 7
    assert "7 trees in 7 rounds" in axes.get_title()


class _Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_notebook_shows_run_and_diagnoses(run: Run) -> None:
    held = {each.type for each in table(run).diagnoses}
    assert "POPULARITY_BIAS" in held
    cells = _Cells(run._repr_html_())
    assert run.id in cells.texts
    assert held <= set(cells.texts)
    assert "table" in cells.tags


def test_notebook_says_when_nothing_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = Run()
    try:
        assert "Nothing is watched." in run_html(empty)
    finally:
        empty.finish()


def test_plots_load_matplotlib_only_when_they_draw() -> None:
    program = "import sys, gradtracer.plots; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
