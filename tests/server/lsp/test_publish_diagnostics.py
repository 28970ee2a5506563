"""Diagnostics stand on the layer's own line and follow it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import RunFactory, RunWriter, frame_of, statement_of

from gradtracer_schemas import Rows, SourceSite
from gradtracer_server.locations import path_of


async def test_a_finished_run_is_shown_on_the_line_of_its_layer(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.at(project.script, found.range) == "nn.Embedding(1000, 64)"
    assert found.range.start.line == editor.place_of(project.script, "self.item_emb").line
    assert found.severity == types.DiagnosticSeverity.Warning
    assert found.source == "gradtracer"
    assert "41 of 1,000 rows of item_emb" in found.message
    assert "(98 % confident, n = 1,000)" in found.message
    [related] = found.related_information or []
    assert editor.at(project.script, related.location.range) == "MF()"


async def test_layers_on_one_line_keep_their_own_figures(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    site = project.layer_site("item_emb")
    for number in (1, 12):
        run.diagnose(
            "REPRESENTATION_COLLAPSE",
            f"tables.{number}",
            site=site,
            premise=f"the effective rank is {number}.5",
            action=f"try embedding_dim={number}",
            confidence=number / 20,
        )
    await editor.start(project.root)
    [found] = await editor.codes(project.script, "REPRESENTATION_COLLAPSE")
    assert found.message == (
        "tables.12: the effective rank is 12.5. try embedding_dim=12. "
        "(60 % confident, n = 1,000) "
        "tables.1: the effective rank is 1.5. try embedding_dim=1. "
        "(5 % confident, n = 1,000)"
    )


async def test_a_file_that_is_not_open_is_shown_too(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.published[-1].version is None


async def test_the_diagnostic_moves_with_its_line_and_names_the_version(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    [before] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    line = before.range.start.line
    editor.replace(project.script, "import torch\n", "import torch\n\n\n\n")
    await editor.until(lambda: editor.shown(project.script)[0].range.start.line == line + 3)
    assert editor.published[-1].version == 2


async def test_the_diagnostic_goes_when_the_definition_is_edited_and_returns_when_it_is_undone(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    edited = "self.item_emb = nn.Embedding(1000, 32)"
    editor.replace(project.script, statement_of("item_emb"), edited)
    await editor.codes(project.script)
    editor.replace(project.script, edited, statement_of("item_emb"))
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_formatting_the_definition_keeps_the_diagnostic(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    formatted = "self.item_emb = nn.Embedding(\n            1000,\n            64,\n        )"
    editor.replace(project.script, statement_of("item_emb"), formatted)
    await editor.until(lambda: [d.range.end.line for d in editor.shown(project.script)] == [12])


async def test_nothing_is_sent_again_when_an_edit_moves_nothing(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    told = len(editor.published)
    for number in range(20):
        editor.replace(project.script, "model = MF()", f"model = MF()  # {number}")
    # Hover answers come after the edits were taken in, and after the findings were renewed.
    assert await editor.hover(project.script, "self.item_emb") is not None
    assert len(editor.published) == told


async def test_a_suppressed_diagnosis_is_not_shown(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    statement = statement_of("item_emb")
    comment = "  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]"
    editor.replace(project.script, statement, statement + comment)
    await editor.codes(project.script)


async def test_a_change_on_disk_of_a_closed_file_is_noticed(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    text = project.script.read_text(encoding="utf-8")
    project.script.write_text(text.replace("64", "32"), encoding="utf-8")
    await editor.codes(project.script)


async def test_closing_without_saving_goes_back_to_the_disk(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    editor.replace(project.script, statement_of("item_emb"), "self.item_emb = None")
    await editor.codes(project.script)
    editor.close(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.published[-1].version is None


async def test_a_disabled_type_is_not_shown(editor: Editor, project: RunFactory) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    await editor.start(
        project.root,
        capabilities("configuration"),
        options={"disabledTypes": ["ZOMBIE_EMBEDDINGS"]},
    )
    await editor.codes(project.script, "POPULARITY_BIAS")


async def test_settings_that_the_editor_is_asked_for_count(
    editor: Editor, project: RunFactory
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    await editor.start(
        project.root, settings={"poll_seconds": 0.1, "disabled_types": ["POPULARITY_BIAS"]}
    )
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_a_setting_that_cannot_be_used_is_named_in_the_log_alone(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities("configuration"), options={"poll": True})
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert any("'poll'" in each.message for each in editor.client.log_messages)


async def test_a_file_opened_under_another_spelling_is_told_under_that_one(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    plain = project.script.as_uri()
    spelt = plain.replace("train", "tr%61in")
    text = project.script.read_text(encoding="utf-8")
    editor.client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(spelt, "python", 1, text))
    )
    await editor.until(lambda: [each.uri for each in editor.published] == [plain, plain, spelt])
    assert [len(each.diagnostics) for each in editor.published] == [1, 0, 1]
    assert editor.published[-1].version == 1


@pytest.mark.parametrize("encoding", list(types.PositionEncodingKind))
async def test_columns_are_counted_in_the_units_agreed_on(
    editor: Editor, project: RunFactory, encoding: types.PositionEncodingKind
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(encodings=[encoding]))
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    # Three characters that each encoding counts differently, before the definition on its line.
    statement = statement_of("item_emb")
    editor.replace(project.script, statement, f'"é𝒙中"; {statement}')
    await editor.until(
        lambda: (
            [editor.at(project.script, d.range) for d in editor.shown(project.script)]
            == ["nn.Embedding(1000, 64)"]
            and editor.shown(project.script)[0].range.start.character > 30
        )
    )
    found = await editor.hover(project.script, statement)
    assert found is not None
    assert found.range is not None
    assert editor.at(project.script, found.range) == statement


async def test_the_code_links_to_the_page_of_its_rule(
    editor: Editor, project: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project.finished()
    await editor.start(project.root)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert found.code_description is not None
    page = path_of(found.code_description.href)
    assert page is not None
    assert page.is_relative_to(tmp_path / "cache")
    assert page.read_text(encoding="utf-8").startswith("# Rows that move much and get nowhere\n")


async def test_a_cache_that_cannot_be_written_leaves_the_link_out(
    editor: Editor, project: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project.finished()
    await editor.start(project.root)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert found.code_description is None


async def test_the_places_of_the_training_are_related(editor: Editor, project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    statement = "optimizer = torch.optim.Adam(model.parameters())"
    frame = frame_of(project.script, statement, expression=statement.partition(" = ")[2])
    related = {"optimizer": SourceSite(frames=[frame]), "watch": project.watch_site()}
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", related=related)
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    told = [
        (editor.at(project.script, each.location.range), each.message)
        for each in found.related_information or []
    ]
    assert told == [
        ("MF()", "built from here"),
        ("torch.optim.Adam(model.parameters())", "the optimizer is built here"),
    ]


@pytest.mark.parametrize("used", [0, 1])
async def test_a_table_that_nothing_looks_up_is_unnecessary(
    editor: Editor, project: RunFactory, used: int
) -> None:
    run = project.start()
    run.watch_layers()
    run.diagnose("DEAD_EMBEDDINGS", "item_emb", rows=Rows(count=1000 - used, of=1000))
    await editor.start(project.root)
    [found] = await editor.codes(project.script, "DEAD_EMBEDDINGS")
    assert list(found.tags or []) == ([] if used else [types.DiagnosticTag.Unnecessary])


async def test_the_line_where_a_run_failed_carries_its_exception(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.observe("item_emb")
    await editor.start(project.root)
    editor.open(project.script)
    await editor.hover_until(project.script, "self.item_emb", "item_emb")
    live_run.fail()
    [found] = await editor.codes(project.script, "RUN_FAILED")
    assert editor.at(project.script, found.range) == "MF()"
    assert found.severity == types.DiagnosticSeverity.Error
    assert "failed here with IndexError at step 100: index out of range in self" in found.message
    editor.replace(project.script, "import torch\n", "import torch\n\n\n")
    line = found.range.start.line + 2
    await editor.until(lambda: editor.shown(project.script)[0].range.start.line == line)
    # Whoever edits the statement has seen it.
    editor.replace(project.script, "model = MF()", "model = MF(dim=3)")
    await editor.codes(project.script)


async def test_ids_are_those_of_the_commands(
    editor: Editor, project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradtracer_server.headless.desk import Desk

    monkeypatch.chdir(project.root)
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    await editor.start(project.root)
    found = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    shown = {identity for each in found for identity in each.data["ids"]}
    answer = Desk([project.root]).get_diagnoses()
    assert shown == {each["id"] for each in answer["findings"]}
    assert len(shown) == 2
