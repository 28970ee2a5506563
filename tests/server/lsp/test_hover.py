"""A hover tells a layer's figures and verdicts, and nothing where there is no layer."""

from __future__ import annotations

import msgspec
from lsp.editor import Editor, capabilities
from run_factory import WATCH_STATEMENT, RunFactory, frame_of, statement_of

from gradtracer_schemas import DiagnosisRaisedEvent, LayerRecipe, LayerWatched, Recipe, SourceSite


def layer_built_at(site: SourceSite, name: str) -> LayerWatched:
    return LayerWatched(
        layer=name, type="Embedding", shape=[10, 4], dtype="float32", device="cpu", site=site
    )


async def ready(editor: Editor, project: RunFactory, *types: str) -> None:
    editor.open(project.script)
    await editor.codes(project.script, *(types or ("ZOMBIE_EMBEDDINGS",)))


async def test_a_hover_shows_figures_verdict_and_run(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    found = await editor.hover(project.script, "self.item_emb", offset=7)
    assert found is not None
    assert found.range is not None
    assert editor.at(project.script, found.range) == statement_of("item_emb")
    text = await editor.hover_text(project.script, "self.item_emb")
    assert text.startswith("**`item_emb`** Embedding 1,000 × 64, float32 on cpu")
    assert "| Coverage | 91 % |" in text
    assert "| Effective rank | 21.5 of 64 |" in text
    assert "**Rows that move much and get nowhere** (`ZOMBIE_EMBEDDINGS`)." in text
    for sentence in (
        "41 of 1,000 rows of item_emb move much and get nowhere.",
        "their updates are spent on contradictory labels.",
        "- Do: look at the examples behind the named rows.",
        "- Expect: the rows' gradient noise falls to that of their peers.",
        "- Risk: rare rows learn more slowly.",
        "Rows 7, 12, 99 and 38 more.",
        "Confidence 98 % (von Neumann ratio, Benjamini-Hochberg, p = 0.0004, n = 1,000).",
    ):
        assert sentence in text
    assert "finished at step 300 of 1,000. Figures of step 100." in text


async def test_a_layer_without_a_diagnosis_has_its_figures(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    text = await editor.hover_text(project.script, "self.user_emb")
    assert "| Coverage | 91 % |" in text
    assert "ZOMBIE" not in text


async def test_hover_on_unknown_layer_returns_nothing(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    assert await editor.hover(project.script, "import torch") is None
    assert await editor.hover(project.script, "super()") is None
    other = project.root / "other.py"
    other.write_text("self.item_emb = nn.Linear(2, 2)\n", encoding="utf-8")
    editor.open(other)
    assert await editor.hover(other, "self.item_emb") is None


async def test_hover_says_when_the_line_was_edited_since(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, "64)\n\n", "32)\n\n")
    text = await editor.hover_text(project.script, "self.item_emb")
    assert text.count("Measured before this edit.") == 1
    assert "ZOMBIE_EMBEDDINGS" in text
    assert "Measured before" not in await editor.hover_text(project.script, "self.user_emb")


async def test_hover_on_a_renamed_definition_says_that_it_was_measured_before(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, "self.item_emb", "self.films")
    text = await editor.hover_text(project.script, "self.films")
    assert "*Measured before this edit.* 41 of 1,000 rows of item_emb" in text
    await editor.codes(project.script)


async def test_hover_says_when_auto_fix_was_turned_on_since(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, WATCH_STATEMENT, WATCH_STATEMENT[:-1] + ", auto_fix=True)")
    text = await editor.hover_text(project.script, "self.item_emb")
    assert "*Measured before this edit.* 41 of 1,000" in text
    await editor.codes(project.script)


async def test_outdated_figures_can_be_switched_off(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root, settings={"show_outdated": False})
    await ready(editor, project)
    editor.replace(project.script, "64)\n\n", "32)\n\n")
    await editor.codes(project.script)
    assert await editor.hover(project.script, "self.item_emb") is None


async def test_hover_works_while_the_line_does_not_parse(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, "model = MF()", "model = MF((")
    assert "| Coverage |" in await editor.hover_text(project.script, "self.item_emb")


async def test_a_client_without_markdown_gets_plain_text(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities("markdown_hover"))
    await ready(editor, project)
    found = await editor.hover(project.script, "self.item_emb")
    assert found is not None
    assert found.contents.kind == "plaintext"
    assert not {"|", "*", "`", "\\"} & set(found.contents.value)
    assert "  Coverage               91 %" in found.contents.value


async def test_what_a_journal_says_is_never_markup(editor: Editor, project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb", **{"a|b](http://evil.example)": 1.0})
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", premise="[run](command:evil) <img src=x> `x`")
    run.end()
    await editor.start(project.root)
    await ready(editor, project)
    text = await editor.hover_text(project.script, "self.item_emb")
    assert "[run\\](command:evil) \\<img src=x> \\`x\\`" in text
    assert "| a\\|b\\](http:\\//evil.example) | 1 |" in text


async def test_a_run_that_vanished_is_told_as_such(editor: Editor, project: RunFactory) -> None:
    run = project.start(pid=2**22 + 1, process_started="1")
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    await ready(editor, project)
    text = await editor.hover_text(project.script, "self.item_emb")
    assert "ended without a goodbye at step 100." in text


async def test_a_run_that_failed_names_the_exception_and_its_place(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb", step=90)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", step=90)
    run.fail(step=100)
    await editor.start(project.root)
    await ready(editor, project, "RUN_FAILED", "ZOMBIE_EMBEDDINGS")
    text = await editor.hover_text(project.script, "self.item_emb")
    assert text.splitlines()[-1].startswith("*Figures of step 90. Run of ")
    said = "failed with IndexError at step 100 (train.py:13): index out of range in self*"
    assert text.endswith(said)


async def test_layers_built_in_a_loop_share_one_diagnostic_and_one_hover(
    editor: Editor, project: RunFactory
) -> None:
    names = [f"tables.{number}" for number in range(26)]
    text = project.script.read_text(encoding="utf-8")
    loop = "tables = nn.ModuleList([nn.Embedding(10, 4) for _ in range(26)])"
    project.script.write_text(text.replace("model = MF()", f"{loop}\nmodel = MF()"), "utf-8")
    run = project.start()
    site = SourceSite(frames=[frame_of(project.script, loop)], origin="constructor")
    for name in names:
        run.emit(layer_built_at(site, name))
    for name in names:
        found = run.diagnosis("DEAD_EMBEDDINGS", "item_emb", site=site, fixes=[], related={})
        named = msgspec.structs.replace(found, layer=name, id=f"DEAD_EMBEDDINGS:{name}@{run.id}")
        run.emit(named, cls=DiagnosisRaisedEvent)
    run.end()
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "DEAD_EMBEDDINGS")
    for name in names[:3]:
        assert f"{name}: 41 of 1,000 rows" in found.message
    assert found.message.endswith("Also: tables.3, tables.4, tables.5 and 20 more.")
    hover = await editor.hover_text(project.script, loop)
    assert hover.count("Embedding 10 × 4") == 5
    assert hover.endswith("and 21 more layers defined here")
    [action] = await editor.actions(project.script, [found])
    assert "Ignore DEAD_EMBEDDINGS of tables.0, tables.1, tables.2 and 23 more" in action.title


async def test_a_recipe_is_told_where_the_layer_is_defined(
    editor: Editor, project: RunFactory
) -> None:
    run = project.finished()
    entry = LayerRecipe(quantization="INT4", bytes_before=256_000, bytes_after=36_000)
    run.emit(Recipe(model="MF", layers={"item_emb": entry}, metric="NDCG@10"))
    await editor.start(project.root)
    await ready(editor, project)
    said = "Recipe: 0.26 MB -> 36.0 KB as INT4, NDCG@10 not measured."
    assert said in (await editor.hover_text(project.script, "self.item_emb")).replace("\\", "")
    assert "Recipe" not in await editor.hover_text(project.script, "self.user_emb")
