"""A quick fix is one edit of the right text, or a reason why not."""

from __future__ import annotations

import json

import msgspec
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import WATCH_STATEMENT, RunFactory, RunWriter, statement_of

from gradtracer_schemas import FixOffer
from gradtracer_server.features.live_control import live_action
from gradtracer_server.headless.survey import survey


async def ready(
    editor: Editor, project: RunFactory, client: types.ClientCapabilities | None = None
) -> types.Diagnostic:
    project.finished()
    await editor.start(project.root, client)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    return found


def titled(actions: list[types.CodeAction], word: str) -> types.CodeAction:
    [action] = [action for action in actions if word in action.title]
    return action


async def test_the_fix_that_reduces_the_dimension_edits_the_definitions(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    before = editor.texts[project.script.as_uri()]
    action = titled(await editor.actions(project.script, [found]), "24")
    assert action.kind == types.CodeActionKind.QuickFix
    assert action.edit is None
    assert list(action.diagnostics or []) == [found]
    resolved = await editor.resolve(action)
    assert resolved.edit is not None
    assert resolved.edit.changes is None
    editor.apply(resolved.edit)
    # Both tables of the product: one alone would break it.
    after = before.replace("nn.Embedding(1000, 64)", "nn.Embedding(1000, 24)")
    assert editor.texts[project.script.as_uri()] == after
    await editor.codes(project.script)


async def test_the_preferred_fix_comes_first_and_edits_the_watch_call(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    action = (await editor.actions(project.script, [found]))[0]
    assert action.is_preferred
    editor.apply((await editor.resolve(action)).edit)
    after = WATCH_STATEMENT[:-1] + ", auto_fix=True)"
    assert after in editor.texts[project.script.as_uri()]
    await editor.codes(project.script)


async def test_suppressing_clears_the_diagnostic(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    action = titled(await editor.actions(project.script, [found]), "gnore")
    editor.apply((await editor.resolve(action)).edit)
    await editor.codes(project.script)
    commented = f"{statement_of('item_emb')}  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]\n"
    assert commented in editor.texts[project.script.as_uri()]


async def test_the_id_decides_whatever_the_range_says(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    found.range = types.Range(types.Position(0, 0), types.Position(0, 1))
    assert len(await editor.actions(project.script, [found])) == 3


async def test_without_an_id_the_cursor_decides(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project, capabilities("diagnostic_data"))
    here = found.range
    found.data = None
    assert len(await editor.actions(project.script, [found])) == 3
    assert len(await editor.actions(project.script, [], where=here)) == 3
    assert await editor.actions(project.script, []) == []


async def test_diagnostics_of_others_are_left_alone(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    top = types.Range(types.Position(0, 0), types.Position(0, 1))
    foreign = types.Diagnostic(top, "unused import", source="ruff", data=found.data)
    broken = types.Diagnostic(top, "ours, of another version", source="gradtracer", data=[1])
    odd = types.Diagnostic(top, "odd", source="gradtracer", data={"ids": [1, "no such id"]})
    assert await editor.actions(project.script, [foreign, broken, odd]) == []


async def test_only_the_kinds_asked_for_are_given(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    organise = [types.CodeActionKind.SourceOrganizeImports]
    assert await editor.actions(project.script, [found], only=organise) == []
    assert await editor.actions(project.script, [found], only=["quickfix.other"]) == []
    assert len(await editor.actions(project.script, [found], only=["quickfix"])) == 3


async def test_a_stale_offer_makes_no_edit_and_says_so_in_the_log(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    actions = await editor.actions(project.script, [found])
    editor.replace(project.script, "import torch\n", "import torch\nimport os\n")
    resolved = await editor.resolve(actions[0])
    assert resolved.edit is None
    assert "the text has changed" in editor.client.log_messages[-1].message


async def test_a_finding_that_has_gone_makes_no_edit(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    actions = await editor.actions(project.script, [found])
    editor.replace(project.script, statement_of("item_emb"), "self.item_emb = None")
    assert (await editor.resolve(actions[0])).edit is None
    assert "no longer holds" in editor.client.log_messages[-1].message


async def test_a_client_that_cannot_resolve_gets_the_edit_at_once(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project, capabilities("code_action_resolve"))
    action = titled(await editor.actions(project.script, [found]), "24")
    assert action.data is None
    editor.apply(action.edit)
    assert "nn.Embedding(1000, 24)" in editor.texts[project.script.as_uri()]


async def test_a_client_without_document_changes_gets_changes(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project, capabilities("document_changes"))
    action = titled(await editor.actions(project.script, [found]), "24")
    resolved = await editor.resolve(action)
    assert resolved.edit is not None
    assert resolved.edit.document_changes is None
    editor.apply(resolved.edit)
    assert "nn.Embedding(1000, 24)" in editor.texts[project.script.as_uri()]


async def test_a_fix_that_does_not_apply_comes_with_its_reason_or_not_at_all(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", related={})
    run.end()
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    [action] = [a for a in await editor.actions(project.script, [found]) if a.disabled is not None]
    assert action.disabled is not None
    assert action.disabled.reason
    assert action.edit is None


async def test_an_offer_that_does_not_apply_is_left_out_for_other_clients(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", related={})
    run.end()
    await editor.start(project.root, capabilities("code_action_disabled"))
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    actions = await editor.actions(project.script, [found])
    assert actions
    assert all(action.disabled is None for action in actions)


async def test_an_edit_is_in_the_units_agreed_on(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    statement = statement_of("item_emb")
    editor.replace(project.script, statement, f'"é𝒙中"; {statement}')
    action = titled(await editor.actions(project.script, [found]), "24")
    editor.apply((await editor.resolve(action)).edit)
    edited = '"é𝒙中"; self.item_emb = nn.Embedding(1000, 24)\n'
    assert edited in editor.texts[project.script.as_uri()]


async def test_of_several_findings_the_preferred_fixes_come_first_and_ignoring_comes_last(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    dimension = FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 24})
    preferred = msgspec.structs.replace(dimension, parameters={"embedding_dim": 16}, preferred=True)
    run.diagnose("POPULARITY_BIAS", "item_emb", fixes=[dimension])
    run.diagnose("REPRESENTATION_COLLAPSE", "item_emb", fixes=[preferred])
    run.end()
    await editor.start(project.root)
    editor.open(project.script)
    both = await editor.codes(project.script, "POPULARITY_BIAS", "REPRESENTATION_COLLAPSE")
    actions = await editor.actions(project.script, both)
    assert ["16" in actions[0].title, "24" in actions[1].title] == [True, True]
    assert [action.is_preferred for action in actions] == [True, False, False, False]
    assert [action.title for action in actions[2:]] == [
        "Ignore POPULARITY_BIAS of item_emb on line 10",
        "Ignore REPRESENTATION_COLLAPSE of item_emb on line 10",
    ]
    editor.apply((await editor.resolve(actions[3])).edit)
    await editor.codes(project.script, "POPULARITY_BIAS")


async def test_one_edit_for_two_findings_is_offered_once_for_both(
    editor: Editor, project: RunFactory
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "EMBEDDING_DRIFT")
    await editor.start(project.root)
    editor.open(project.script)
    both = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS", "EMBEDDING_DRIFT")
    action = titled(await editor.actions(project.script, both), "auto_fix")
    assert {str(each.code) for each in action.diagnostics or []} == {str(d.code) for d in both}


async def test_all_safe_fixes_of_a_file_are_one_edit(editor: Editor, project: RunFactory) -> None:
    await ready(editor, project)
    for only in ("source.fixAll.gradtracer", "source.fixAll", "source"):
        [action] = await editor.actions(project.script, [], only=[only])
        assert (action.kind, action.title) == (
            "source.fixAll.gradtracer",
            "Make the safe fix of this file",
        )
    before = editor.texts[project.script.as_uri()]
    editor.apply(action.edit)
    # The narrower table is another model: that one is left.
    after = before.replace(WATCH_STATEMENT, WATCH_STATEMENT[:-1] + ", auto_fix=True)")
    assert editor.texts[project.script.as_uri()] == after
    await editor.codes(project.script)
    assert await editor.actions(project.script, [], only=["source.fixAll"]) == []


async def test_one_edit_that_serves_two_findings_is_made_once(
    editor: Editor, project: RunFactory
) -> None:
    run = project.finished("ZOMBIE_EMBEDDINGS")
    run.diagnose("ZOMBIE_EMBEDDINGS", "user_emb", step=90)
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS", "ZOMBIE_EMBEDDINGS")
    [action] = await editor.actions(project.script, [], only=["source.fixAll.gradtracer"])
    editor.apply(action.edit)
    assert editor.texts[project.script.as_uri()].count("auto_fix=True") == 1


async def test_source_actions_come_only_when_asked_for(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    for only in (None, ["quickfix"]):
        kinds = {action.kind for action in await editor.actions(project.script, [found], only=only)}
        assert kinds == {types.CodeActionKind.QuickFix}


async def test_a_live_run_that_takes_requests_offers_auto_fix_in_the_training_itself(
    editor: Editor, live_run: RunWriter, project: RunFactory
) -> None:
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    path = live_run.folder / "connection.json"
    told = json.loads(path.read_bytes())
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    actions = await editor.actions(project.script, [found])
    assert not [each for each in actions if "(live)" in each.title]
    door = {"control": told["events"], "control_key": told["server_key"]}
    path.write_text(json.dumps(told | door))
    # The library of this client takes every action with a command for a command.
    context = types.CodeActionContext([found])
    at = types.TextDocumentIdentifier(project.script.as_uri())
    listed = await editor.client.text_document_code_action_async(
        types.CodeActionParams(at, found.range, context)
    )
    assert "Turn auto-fix on for item_emb in the running training (live)" in {
        each.title for each in listed or []
    }


def test_what_a_live_run_is_asked_is_a_command_and_no_edit(
    live_run: RunWriter, project: RunFactory
) -> None:
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    live_run.diagnose("POPULARITY_BIAS", "item_emb")
    path = live_run.folder / "connection.json"
    told = json.loads(path.read_bytes())
    door = {"control": told["events"], "control_key": told["server_key"]}
    path.write_text(json.dumps(told | door))
    found = {each.diagnosis.type: each for each in survey([project.root]).findings}
    action = live_action(found["ZOMBIE_EMBEDDINGS"])
    assert action is not None and action.kind == "quickfix.gradtracer.live"
    assert action.edit is None and action.command is not None
    assert action.command.command == "gradtracer.setAutoFix"
    assert action.command.arguments == [live_run.id, True, "item_emb"]
    assert live_action(found["POPULARITY_BIAS"]) is None
    live_run.end()
    (ended,) = survey([project.root]).findings[:1]
    assert live_action(ended) is None


SLOWER = FixOffer(
    fix="reduce-learning-rate",
    parameters={"lr": 1e-4, "measured_lr": 1e-3, "parameters": "item_emb.weight"},
)


async def test_a_fix_that_restructures_the_code_is_a_refactoring_to_who_asks_for_one(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    related = {"watch": project.watch_site()}
    run.diagnose("DEAD_EMBEDDINGS", "item_emb", fixes=[SLOWER], related=related)
    run.end()
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "DEAD_EMBEDDINGS")
    here = found.range
    for kinds in (["refactor"], ["refactor.rewrite"]):
        [action] = await editor.actions(project.script, [], where=here, only=[*kinds])
        assert action.kind == types.CodeActionKind.RefactorRewrite
        assert action.title == "Give item_emb.weight a parameter group of its own with lr=0.0001"
    assert await editor.actions(project.script, [], where=here, only=["refactor.inline"]) == []
    titles = [each.title for each in await editor.actions(project.script, [found])]
    assert action.title in titles
    editor.apply((await editor.resolve(action)).edit)
    assert (
        '{"params": [model.item_emb.weight], "lr": 0.0001}'
        in (editor.texts[project.script.as_uri()])
    )


async def test_an_edit_that_changes_the_model_is_to_be_confirmed_and_no_other(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    actions = await editor.actions(project.script, [found])
    narrow = (await editor.resolve(titled(actions, "24"))).edit
    assert narrow is not None
    [annotation] = (narrow.change_annotations or {}).values()
    assert annotation.needs_confirmation
    assert annotation.label == titled(actions, "24").title
    named = {
        edit.annotation_id
        for change in narrow.document_changes or []
        if isinstance(change, types.TextDocumentEdit)
        for edit in change.edits
        if isinstance(edit, types.AnnotatedTextEdit)
    }
    assert named == set(narrow.change_annotations or {})
    safe = (await editor.resolve(titled(actions, "auto_fix"))).edit
    assert safe is not None
    assert safe.change_annotations is None
