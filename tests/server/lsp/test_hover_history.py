"""A hover tells which way a figure went, and what differs from the run before."""

from __future__ import annotations

import pytest
from lsp.editor import Editor, capabilities
from run_factory import RunFactory, RunWriter


def measured(run: RunWriter, *ranks: float) -> None:
    run.watch_layers()
    for index, rank in enumerate(ranks):
        run.observe("item_emb", step=100 * (index + 1), effective_rank=rank)


@pytest.fixture
def two_runs(project: RunFactory) -> RunFactory:
    """A run that kept its rank, then one that lost it."""
    before = project.start()
    measured(before, 60, 58, 57, 56)
    before.diagnose("DEAD_EMBEDDINGS", "item_emb", step=100)
    before.end()
    after = project.start()
    measured(after, 60, 40, 20)
    after.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", step=300)
    after.observe("item_emb", step=400, effective_rank=2)
    after.end(step=400)
    return project


async def hover(editor: Editor, project: RunFactory, wanted: str) -> str:
    """The hover, once it says what is wanted: the run before is read after the others."""
    editor.open(project.script)
    return await editor.hover_until(project.script, "self.item_emb", wanted)


async def test_a_hover_shows_the_way_of_a_figure_and_what_changed_since_the_run_before(
    editor: Editor, two_runs: RunFactory
) -> None:
    await editor.start(two_runs.root)
    text = await hover(editor, two_runs, "Since the run")
    assert "- Effective rank `█▆▃▁` 60 to 2, steps 100 to 400\n" in text
    [line] = [line for line in text.splitlines() if line.startswith("Since the run of ")]
    assert line.endswith(
        "at step 400: effective rank 56 to 2; DEAD_EMBEDDINGS does not hold any more."
    )
    assert "data:image" not in text


async def test_plain_text_has_them_too(editor: Editor, two_runs: RunFactory) -> None:
    await editor.start(two_runs.root, capabilities("markdown_hover"))
    text = await hover(editor, two_runs, "Since the run")
    assert " Effective rank █▆▃▁ 60 to 2, steps 100 to 400\n" in text
    assert "effective rank 56 to 2" in text


async def test_the_first_run_of_a_script_is_compared_with_none(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    assert "Since the run" not in await hover(editor, project, "Coverage")


async def test_images_go_to_clients_that_draw_them_alone(
    editor: Editor, two_runs: RunFactory
) -> None:
    run = two_runs.start()
    run.watch_layers()
    for step in (100, 200):
        run.observe("item_emb", step=step, seen_rows=step * 2.0, zombie_rows=3.0)
    run.end()
    options = {"canDrawImages": True, "theme": "light"}
    await editor.start(two_runs.root, options=options)
    text = await hover(editor, two_runs, "data:image")
    assert "![rows by state over steps: 3 zombie, 600 unseen](data:image/svg+xml;base64," in text
    # They may be switched off while the editor runs, and what it began with stands otherwise.
    editor.configure({"canDrawImages": False})
    assert "data:image" not in await editor.hover_text(two_runs.script, "self.item_emb")


async def test_a_project_cannot_ask_for_images(editor: Editor, two_runs: RunFactory) -> None:
    (two_runs.root / "pyproject.toml").write_text(
        "[tool.gradtracer.server]\ncan_draw_images = true\n", encoding="utf-8"
    )
    await editor.start(two_runs.root)
    await editor.until(lambda: editor.client.log_messages)
    assert "can_draw_images is not taken from here" in editor.client.log_messages[0].message
