"""What changes a script, and what runs one: a recipe applied, safe fixes, a booster's training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from run_factory import RunFactory, script_text
from test_runs_view import serious
from trained_model import leave_trained_model
from workbench import Workbench

from gradtracer_schemas import FixOffer, LayerRecipe, Recipe, RecipePoint

OpenFolder = Callable[..., Workbench]
SAVE = 'torch.save(model.state_dict(), "model.pt")\n'
COMPRESS = 'model = gradtracer.compress(model, "gradtracer_recipe.json")\n'
BOOST = """\
import numpy as np
import xgboost as xgb

import gradtracer

rng = np.random.default_rng(0)
x = rng.normal(size=(900, 5))
y = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=900)
dtrain, dval = xgb.DMatrix(x[:400], y[:400]), xgb.DMatrix(x[400:], y[400:])
booster = xgb.train(
    {"eta": 0.3, "nthread": 1},
    dtrain,
    80,
    evals=[(dtrain, "train"), (dval, "val")],
    verbose_eval=False,
    callbacks=[gradtracer.xgboost_callback()],
)
print(f"{booster.num_boosted_rounds()} rounds are done")
"""


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    """A script that saves its model, a run of it with a measured recipe, and a booster's script."""
    root = tmp_path / "project"
    root.mkdir()
    text = script_text(("user_emb", "item_emb")) + SAVE
    (root / "train.py").write_text(text, encoding="utf-8")
    (root / "boost.py").write_text(BOOST, encoding="utf-8")
    project = RunFactory(root)
    run = project.start()
    run.watch_layers()
    for layer in project.layers:
        run.observe(layer)
    small = LayerRecipe(quantization="INT4", bytes_before=256_000, bytes_after=36_000)
    recipe = Recipe(
        model="MF",
        layers={"item_emb": small},
        bytes_before=512_000,
        bytes_after=292_000,
        metric="NDCG@10",
        quality_before=0.1,
        quality_after=0.0999,
        quality_interval=(0.997, 1.001),
        measured=True,
        floor=0.995,
        floor_held=True,
        front=[
            RecipePoint(bytes=146_000, quality=0.0981),
            RecipePoint(bytes=200_000, quality=0.0993),
            RecipePoint(bytes=292_000, quality=0.0999),
        ],
        path="gradtracer_recipe.json",
    )
    run.emit(recipe)
    offer = FixOffer(fix="apply-recipe", parameters={"path": recipe.path}, preferred=True)
    run.diagnose(
        "COMPRESSIBLE",
        "item_emb",
        severity="information",
        premise="item_emb needs 36.0 KB instead of 0.26 MB",
        fixes=[offer],
    )
    run.diagnose("ZOMBIE_EMBEDDINGS", "user_emb")
    run.end()
    return project


def test_a_recipe_is_applied_safe_fixes_are_made_and_a_script_is_run(
    project: RunFactory, open_folder: OpenFolder
) -> None:
    before = project.script.read_text(encoding="utf-8")
    bench = open_folder(project.root)
    bench.open("train.py")
    expect(bench.squiggles.first).to_be_visible()
    bench.view("GradTracer")
    run = bench.tree.filter(has_text="train.py")
    run.click()
    finding = bench.tree.filter(has_text="A layer that can be stored in less")
    expect(finding).to_be_visible()
    run.hover()
    run.get_by_role("button", name="Open Inspector").click()
    page = bench.webview()
    recipe = page.locator("details", has_text="Compression recipe")
    recipe.locator("summary").click()
    expect(recipe).to_contain_text("NDCG@10 -0.10 % measured, the floor of 0.995 held")
    expect(recipe.get_by_role("row", name="item_emb")).to_contain_text("INT4")
    recipe.get_by_role("button", name="Apply the Recipe").scroll_into_view_if_needed()
    bench.picture("recipe")
    assert serious(page) == []

    recipe.get_by_role("button", name="Apply the Recipe").click()
    expect(bench.line(r"gradtracer\.compress")).to_be_visible()
    expect(page.locator("details", has_text="Compression recipe")).to_be_visible()
    bench.picture("applied")
    bench.save()
    assert project.script.read_text(encoding="utf-8") == before.replace(SAVE, COMPRESS + SAVE)
    bench.menu(finding, "Apply the Recipe")
    expect(bench.notifications).to_contain_text("no finding")
    bench.command("Notifications: Clear All Notifications")

    bench.command("GradTracer: Apply All Safe Fixes in This File")
    expect(bench.line("auto_fix=True")).to_be_visible()
    bench.save()
    bench.picture("fixed")

    bench.open("boost.py")
    bench.command("GradTracer: Run This Script under GradTracer")
    expect(bench.terminal).to_contain_text("80 rounds are done")
    boosted = bench.tree.filter(has_text="boost.py")
    expect(boosted).to_contain_text("finished")
    bench.picture("run")
    bench.page.keyboard.press("Control+j")
    boosted.hover()
    boosted.get_by_role("button", name="Open Inspector").click()
    rounds = page.locator("figure", has_text="Validation metric")
    expect(rounds).to_contain_text("best in round")
    expect(rounds.locator("canvas")).to_be_visible()
    expect(page.locator("details", has_text="Compression recipe")).to_be_hidden()
    bench.picture("rounds")
    assert bench.errors == []


def test_a_checkpoint_is_compressed_and_what_came_of_it_is_told(
    project: RunFactory, open_folder: OpenFolder
) -> None:
    leave_trained_model(project.root)
    (project.root / "r.json").rename(project.root / "gradtracer_recipe.json")
    bench = open_folder(project.root)
    bench.open("train.py")
    expect(bench.squiggles.first).to_be_visible()
    bench.command("GradTracer: Compress a Checkpoint")
    bench.choose("model.pt")
    bench.answer("mf", refused="Expected module:function")
    bench.answer("mf:build")
    bench.answer("mf:norm")
    expect(bench.notifications).to_contain_text("compressing model.pt")
    expect(bench.notifications).to_contain_text("GradTracer: model.compressed.pt: 0.32 MB ->")
    bench.picture("compressed")
    bench.page.get_by_role("button", name="Show the File").click()
    expect(bench.tree.filter(has_text="model.compressed.pt")).to_be_visible()
    assert (project.root / "model.compressed.pt").stat().st_size < 100_000
    assert bench.errors == []
