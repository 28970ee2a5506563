"""`gradtracer mcp`: an agent's tools, over the real protocol."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from run_factory import RunFactory, of_protocol_2

from gradtracer_schemas import FixOffer, LayerRecipe, Progress, Recipe, SourceSite
from gradtracer_server.headless.desk import Desk
from gradtracer_server.headless.mcp import INSTRUCTIONS, build

from .conftest import Command
from .sarif_schema import complaints

Ask = Callable[..., Awaitable[dict[str, Any]]]
ZOMBIES = "ZOMBIE_EMBEDDINGS"
MOST_TOKENS = 1600
"""What an agent reads before its first call, at four characters a token."""


@pytest.fixture
def ask(project: RunFactory, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Calls a tool, and gives its answer as an object."""
    monkeypatch.chdir(project.root)

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        async with Client(build(Desk([project.root]))) as client:
            result: Any = await client.call_tool(tool, arguments)
        (content,) = result.content
        return {"error": content.text} if result.is_error else json.loads(content.text)

    return call


def text_of(project: RunFactory) -> str:
    return project.script.read_text(encoding="utf-8")


def sha256_of(project: RunFactory) -> str:
    return hashlib.sha256(project.script.read_bytes()).hexdigest()


async def test_tools_and_instructions_are_few_words(project: RunFactory) -> None:
    async with Client(build(Desk([project.root]))) as client:
        assert client.instructions == INSTRUCTIONS
        tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} == {
        "list_runs",
        "get_diagnoses",
        "explain",
        "locate_layer",
        "propose_fix",
        "apply_fix",
        "wait_until",
        "get_recipe",
        "compress",
        "control_run",
    }
    writing = {tool.name for tool in tools if not tool.annotations.read_only_hint}  # type: ignore[union-attr]
    assert writing == {"apply_fix", "control_run", "compress"}
    listed = "".join(tool.model_dump_json(exclude_none=True) for tool in tools)
    assert (len(listed) + len(INSTRUCTIONS)) / 4 < MOST_TOKENS


async def test_it_serves_on_standard_streams(project: RunFactory) -> None:
    run = project.finished()
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "gradtracer_server", "mcp", str(project.root)]
    )
    with anyio.fail_after(60):
        async with Client(server) as client:
            result: Any = await client.call_tool("get_diagnoses", {})
    (finding,) = json.loads(result.content[0].text)["findings"]
    assert finding["id"] == f"{ZOMBIES}:item_emb@{run.id}"


async def test_ids_are_equal_in_every_surface(
    project: RunFactory, command: Command, ask: Ask
) -> None:
    run = project.finished(ZOMBIES, "POPULARITY_BIAS")
    ids = {f"{type_}:item_emb@{run.id}" for type_ in (ZOMBIES, "POPULARITY_BIAS")}
    records = json.loads(command("check", "--output-format", "json").out)
    log = json.loads(command("check", "--output-format", "sarif").out)
    assert complaints(log) == []
    answer = await ask("get_diagnoses")
    assert {each["id"] for each in records} == ids
    assert {each["properties"]["id"] for each in log["runs"][0]["results"]} == ids
    assert {each["id"] for each in answer["findings"]} == ids


async def test_from_what_is_wrong_to_a_fix_in_three_calls(project: RunFactory, ask: Ask) -> None:
    project.finished()
    (finding,) = (await ask("get_diagnoses"))["findings"]
    assert finding["where"] == "train.py:10:25"
    assert finding["fixes"][0] == {
        "fix": "enable-auto-fix",
        "title": "Turn on auto_fix in the call of watch on line 15",
        "safe": True,
        "preferred": True,
    }
    proposed = await ask("propose_fix", diagnosis_id=finding["id"])
    assert proposed["expect_sha256"] == sha256_of(project)
    assert "+run = gradtracer.watch(model, optimizer=optimizer, auto_fix=True)" in proposed["diff"]
    applied = await ask(
        "apply_fix",
        diagnosis_id=finding["id"],
        fix=proposed["fix"],
        expect_sha256=proposed["expect_sha256"],
    )
    assert applied["state"] == "applied"
    assert applied["finding"] == "outdated"
    assert applied["new_sha256"] == sha256_of(project)
    assert "auto_fix=True" in text_of(project)
    again = await ask("get_diagnoses")
    assert again["findings"] == []
    assert again["status"].startswith("NOTHING OPEN")


async def test_text_that_changed_since_the_proposal_is_stale(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    identity = f"{ZOMBIES}:item_emb@{run.id}"
    proposed = await ask("propose_fix", diagnosis_id=identity)
    project.script.write_text(f"# typed meanwhile\n{text_of(project)}", encoding="utf-8")
    typed = text_of(project)
    arguments = {
        "diagnosis_id": identity,
        "fix": proposed["fix"],
        "expect_sha256": proposed["expect_sha256"],
    }
    assert (await ask("apply_fix", **arguments, dry_run=True))["state"] == "stale"
    assert (await ask("apply_fix", **arguments))["state"] == "stale"
    assert text_of(project) == typed
    anew = await ask("propose_fix", diagnosis_id=identity)
    arguments["expect_sha256"] = anew["expect_sha256"]
    dry = await ask("apply_fix", **arguments, dry_run=True)
    assert (dry["state"], text_of(project)) == ("would be applied", typed)
    assert (await ask("apply_fix", **arguments))["state"] == "applied"
    assert text_of(project).startswith("# typed meanwhile\n")


async def test_read_only_file_is_a_conflict(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    identity = f"{ZOMBIES}:item_emb@{run.id}"
    proposed = await ask("propose_fix", diagnosis_id=identity)
    project.script.chmod(0o444)
    answer = await ask(
        "apply_fix",
        diagnosis_id=identity,
        fix=proposed["fix"],
        expect_sha256=proposed["expect_sha256"],
    )
    assert answer["state"] == "conflict"
    assert "read-only" in answer["reason"]


async def test_second_application_is_stale(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    identity = f"{ZOMBIES}:item_emb@{run.id}"
    proposed = await ask("propose_fix", diagnosis_id=identity)
    arguments = {
        "diagnosis_id": identity,
        "fix": proposed["fix"],
        "expect_sha256": proposed["expect_sha256"],
    }
    assert (await ask("apply_fix", **arguments))["state"] == "applied"
    answer = await ask("apply_fix", **arguments)
    assert answer["state"] == "stale"
    assert "train" in answer["reason"]


@pytest.mark.parametrize("tool", ["explain", "propose_fix"])
async def test_unknown_id_names_the_nearest(project: RunFactory, ask: Ask, tool: str) -> None:
    run = project.finished()
    answer = await ask(tool, diagnosis_id=f"{ZOMBIES}:item_em@{run.id}")
    assert f"did you mean {ZOMBIES}:item_emb@{run.id}?" in answer["error"]


async def test_unknown_names_are_told_with_the_nearest(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    identity = f"{ZOMBIES}:item_emb@{run.id}"
    fix = await ask("propose_fix", diagnosis_id=identity, fix="enable-autofix")
    assert "did you mean enable-auto-fix" in fix["error"]
    layer = await ask("locate_layer", layer="item_embb")
    assert "did you mean item_emb" in layer["error"]
    missing = await ask("get_diagnoses", run=run.id[:-1] + "f")
    assert f"did you mean {run.id}" in missing["error"]
    select = await ask("get_diagnoses", select="ZOMBEE_EMBEDDINGS")
    assert "did you mean ZOMBIE_EMBEDDINGS" in select["error"]


async def test_no_run_at_all_says_how_to_make_one(ask: Ask) -> None:
    for tool in ("list_runs", "get_diagnoses"):
        assert "gradtracer.watch(model" in (await ask(tool))["note"]
    assert (await ask("get_recipe"))["recipe"] is None
    assert (await ask("wait_until", timeout_seconds=0))["run"] is None


async def test_healthy_is_said_plainly_and_unwatched_is_not_healthy(
    project: RunFactory, ask: Ask
) -> None:
    run = project.start()
    assert (await ask("get_diagnoses"))["status"].startswith("UNKNOWN")
    run.watch_layers()
    assert (await ask("get_diagnoses"))["status"].startswith("UNKNOWN")
    run.observe("item_emb")
    assert (await ask("get_diagnoses"))["status"].startswith("HEALTHY")


async def test_what_a_selection_leaves_out_is_not_healthy(project: RunFactory, ask: Ask) -> None:
    project.finished()
    status = (await ask("get_diagnoses", select="DEAD"))["status"]
    assert status == "NOTHING SELECTED: without select there is 1 finding"
    assert "status" not in await ask("get_diagnoses", select="ZOMBIE")


async def test_what_could_not_be_judged_is_told_as_check_tells_it(
    project: RunFactory, command: Command, ask: Ask
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.emit(Progress(step=300, total_steps=None, steps_per_second=50.0), step=300)
    run.end()
    (told,) = (await ask("get_diagnoses"))["runs"]
    (note,) = told["notes"]
    assert note.startswith("No loss was told")
    assert note in command("check").out


async def test_runs_that_cannot_be_read_are_not_called_none(project: RunFactory, ask: Ask) -> None:
    project.start().rewrite_start(of_protocol_2)
    assert "written by protocol 2.0" in (await ask("get_diagnoses"))["note"]


async def test_settings_that_cannot_be_used_are_told(project: RunFactory, ask: Ask) -> None:
    project.finished()
    (project.root / "pyproject.toml").write_text("[tool.gradtracer]\ndisabled_types = 3\n")
    assert "disabled_types" in (await ask("get_diagnoses"))["settings"][0]


async def test_one_run_and_all_that_speak_are_told_in_one_order(
    project: RunFactory, ask: Ask
) -> None:
    run = project.finished(ZOMBIES, "POPULARITY_BIAS", "DEAD_EMBEDDINGS")
    assert await ask("get_diagnoses", run=run.id) == await ask("get_diagnoses")


async def test_explain_carries_evidence_figures_and_rule(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    answer = await ask("explain", diagnosis_id=f"{ZOMBIES}:item_emb@{run.id}")
    assert answer["evidence"][0]["n"] == 1000
    assert answer["figures"]["gini"] == 0.62
    assert answer["rule"]["type"] == ZOMBIES
    assert answer["first_step"] == 100


async def test_layer_is_found_where_it_stands_now(project: RunFactory, ask: Ask) -> None:
    project.finished()
    project.script.write_text(f"\n\n{text_of(project)}", encoding="utf-8")
    answer = await ask("locate_layer", layer="item_emb")
    place, model = answer["places"]
    assert (place["path"], place["line"], place["state"]) == ("train.py", 12, "moved")
    assert model["ran"] == "model = MF()"


async def test_fix_of_what_lies_outside_is_refused(project: RunFactory, ask: Ask) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    diagnosis = run.diagnose(ZOMBIES, "item_emb", site=SourceSite())
    answer = await ask("propose_fix", diagnosis_id=diagnosis.id)
    assert (answer["diff"], "nothing there is edited" in answer["note"]) == ("", True)


async def test_fix_that_cannot_be_made_says_why(project: RunFactory, ask: Ask) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    diagnosis = run.diagnose(
        ZOMBIES, "item_emb", fixes=[FixOffer(fix="reduce-embedding-dim", parameters={})]
    )
    answer = await ask("propose_fix", diagnosis_id=diagnosis.id)
    assert "expected the measured embedding_dim" in answer["error"]
    assert f"By hand: {diagnosis.action}" in answer["error"]


async def test_waiting_gives_up_in_time(project: RunFactory, ask: Ask) -> None:
    run = project.finished()
    answer = await ask("wait_until", timeout_seconds=0)
    assert (answer["reason"], answer["run"]) == ("timeout", run.id)


async def test_recipe_is_given_or_plainly_not(project: RunFactory, ask: Ask) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    assert "no compression recipe" in (await ask("get_recipe"))["note"]
    run.emit(Recipe(model="MF", layers={"item_emb": LayerRecipe(quantization="INT8")}))
    answer = await ask("get_recipe", run=run.id)
    assert answer["recipe"]["layers"]["item_emb"]["quantization"] == "INT8"


async def test_resources_hold_runs_and_rules(
    project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    run = project.finished()
    async with Client(build(Desk([project.root]))) as client:

        async def read(uri: str) -> str:
            result: Any = await client.read_resource(uri)
            return result.contents[0].text

        assert json.loads(await read("gradtracer://runs"))["runs"][0]["id"] == run.id
        findings = json.loads(await read(f"gradtracer://runs/{run.id}"))["findings"]
        assert findings[0]["id"] == f"{ZOMBIES}:item_emb@{run.id}"
        page = await read(f"gradtracer://runs/{run.id}/report")
        assert page.startswith("<!doctype html>")
        assert "train.py:10:25" in page
        for uri in ("gradtracer://runs/no-such-run", "gradtracer://runs/no-such-run/report"):
            with pytest.raises(MCPError, match=f"got 'no-such-run'; the newest is {run.id}"):
                await read(uri)
        with pytest.raises(MCPError, match="did you mean DEAD_EMBEDDINGS"):
            await read("gradtracer://rules/DEAD")
        assert ZOMBIES in await read("gradtracer://rules")
        assert "Looks for" in await read(f"gradtracer://rules/{ZOMBIES}")


async def test_many_findings_are_counted_beyond_the_first(project: RunFactory, ask: Ask) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    for number in range(25):
        run.diagnose(ZOMBIES, f"tables.{number}", site=project.layer_site("item_emb"))
    answer = await ask("get_diagnoses")
    assert (len(answer["findings"]), answer["more_findings"]) == (20, 5)
