"""Our own requests: the list of runs, one run, its series, its places, and who is followed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from lsp.editor import Editor
from run_factory import RunFactory, RunWriter

from gradtracer_schemas import LayerRecipe, Recipe, RecipePoint
from gradtracer_server.features.runs import RUNS_CHANGED


def follow_changes(editor: Editor) -> list[object]:
    told: list[object] = []
    editor.client.feature(RUNS_CHANGED)(lambda _: told.append(None))
    return told


async def ask(editor: Editor, method: str, **params: Any) -> Any:
    return await editor.client.protocol.send_request_async(f"gradtracer/{method}", params)


async def listed(editor: Editor, count: int) -> Any:
    """The runs, once there are so many of them."""
    while True:
        answer = await ask(editor, "runs")
        if answer.ready and len(answer.runs) == count:
            return answer.runs
        await asyncio.sleep(0.02)


async def test_runs_are_listed_newest_first_with_how_they_stand(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.progress(step=500)
    project.finished(run_id="20200101-000000-aaaaaa")
    await editor.start(project.root)
    newest, _ = runs = await listed(editor, 2)
    live = next(run for run in runs if run.status == "live")
    assert Path(live.script).name == "train.py"
    assert live.outcome.startswith("Live: step 500 of 1,000")
    assert live.totalSteps == 1000
    assert newest.startedAt >= runs[1].startedAt
    assert all(run.following for run in runs)


async def test_changes_are_told_to_a_client_that_asked_and_to_no_other(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    told = follow_changes(editor)
    await editor.start(project.root)
    editor.open(project.script)
    live_run.diagnose("DEAD_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "DEAD_EMBEDDINGS")
    assert told == []
    await listed(editor, 1)
    await editor.until(lambda: told)
    before = len(told)
    live_run.progress(step=700)
    await editor.until(lambda: len(told) > before)


async def test_a_run_tells_its_layers_by_health(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.observe("item_emb", gini=0.5)
    live_run.diagnose("DEAD_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    (run,) = await listed(editor, 1)
    detail = await ask(editor, "run", folder=run.folder, values=True)
    health = {layer.name: layer.health for layer in detail.layers}
    severity = detail.diagnoses[0].severity
    assert health == {"user_emb": "unknown", "item_emb": severity}
    assert detail.layers[1].values.gini == 0.5
    assert detail.diagnoses[0].type == "DEAD_EMBEDDINGS"
    assert not hasattr((await ask(editor, "run", folder=run.folder)).layers[1], "values")


async def test_the_series_of_a_layer_have_one_value_for_each_step(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.observe("item_emb", step=100, gini=0.5)
    live_run.observe("item_emb", step=200, gini=0.6, dead_rows=3.0)
    await editor.start(project.root)
    (run,) = await listed(editor, 1)
    told = await ask(editor, "layerSeries", folder=run.folder, layer="item_emb")
    assert told.series.steps == [100, 200]
    assert told.series.values.dead_rows == [None, 3.0]
    assert told.values.gini == 0.6
    assert await ask(editor, "layerSeries", folder=run.folder, layer="nothing") is None
    told = await ask(editor, "statistic", folder=run.folder, statistic="dead_rows")
    assert told.layers.item_emb == [[200], [3.0]]


async def test_a_run_that_is_over_is_read_when_it_is_asked_about(
    editor: Editor, project: RunFactory
) -> None:
    older = project.start("20200101-000000-aaaaaa")
    older.watch_layers()
    older.observe("user_emb", step=30, gini=0.25)
    older.end("finished")
    project.finished("DEAD_EMBEDDINGS")
    await editor.start(project.root)
    runs = await listed(editor, 2)
    run = next(run for run in runs if run.id == older.id)
    told = await ask(editor, "layerSeries", folder=run.folder, layer="user_emb")
    assert told.series.steps == [30]


async def test_a_layer_has_a_place_in_the_text_as_it_is_now(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    (run,) = await listed(editor, 1)
    editor.open(project.script)
    editor.replace(project.script, "import torch\n", "import torch\n\n\n")
    place = await ask(editor, "place", folder=run.folder, layer="item_emb")
    assert place.uri == project.script.as_uri()
    expected = editor.place_of(project.script, "nn.Embedding", 0).line + 1
    assert place.range.start.line == expected
    assert await ask(editor, "place", folder=run.folder, layer="nothing") is None


async def test_a_run_that_is_not_followed_says_nothing_in_the_text_until_it_is_again(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.diagnose("DEAD_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "DEAD_EMBEDDINGS")
    (run,) = await listed(editor, 1)
    assert await ask(editor, "follow", folder=run.folder, follow=False)
    await editor.codes(project.script)
    (run,) = await listed(editor, 1)
    assert not run.following
    assert await ask(editor, "follow", folder=run.folder, follow=True)
    await editor.codes(project.script, "DEAD_EMBEDDINGS")


async def test_what_is_no_run_of_the_workspace_is_not_read(
    editor: Editor, project: RunFactory, live_run: RunWriter, tmp_path: Path
) -> None:
    elsewhere = RunFactory(tmp_path / "elsewhere").finished()
    await editor.start(project.root)
    (run,) = await listed(editor, 1)
    assert await ask(editor, "run", folder=elsewhere.folder.as_uri()) is None
    assert await ask(editor, "run", folder="http://example.org/") is None
    assert await ask(editor, "run") is None
    assert not await ask(editor, "follow", folder=elsewhere.folder.as_uri(), follow=False)
    live_run.close_socket()
    shutil.rmtree(live_run.folder)
    await listed(editor, 0)
    assert await ask(editor, "run", folder=run.folder) is None


async def test_a_run_tells_its_recipe(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    (run,) = await listed(editor, 1)
    assert (await ask(editor, "run", folder=run.folder)).recipe is None
    live_run.emit(
        Recipe(
            model="MF",
            layers={
                "item_emb": LayerRecipe(quantization="INT4", bytes_before=256, bytes_after=36),
                "user_emb": LayerRecipe(bytes_before=256, bytes_after=256),
            },
            metric="NDCG@10",
            front=[RecipePoint(bytes=292, quality=0.1), RecipePoint(bytes=512, quality=0.2)],
        )
    )
    while (told := (await ask(editor, "run", folder=run.folder)).recipe) is None:
        await asyncio.sleep(0.02)
    assert [(each.name, each.form, each.after) for each in told.layers] == [
        ("item_emb", "INT4", 36)
    ]
    assert [point.quality for point in told.front] == [0.1, 0.2]
    assert (told.metric, told.measured) == ("NDCG@10", False)
