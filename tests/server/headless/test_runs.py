"""`gradtracer runs show|compare|prune`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from run_factory import RunFactory, of_protocol_2

from .conftest import Command

ZOMBIES, BIAS = "ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS"


def test_newest_run_is_shown_with_its_layers(project: RunFactory, command: Command) -> None:
    project.finished(BIAS)
    run = project.finished(ZOMBIES)
    answer = command("runs", "show")
    assert answer.status == 0
    heading, status, *_ = answer.out.splitlines()
    assert heading == f"train.py, run {run.id}"
    assert "finished at step 300 of 1,000" in status
    for words in ("item_emb: Embedding 1,000 × 64", "Popularity Gini", ZOMBIES, "- Do: look at"):
        assert words in answer.out


def test_run_is_found_by_the_beginning_of_its_id(project: RunFactory, command: Command) -> None:
    run = project.finished(run_id="20250101-000000-abc001")
    project.finished(run_id="20250102-000000-abc002")
    (record,) = json.loads(command("runs", "show", "20250101", "--output-format", "json").out)
    assert record["id"] == run.id
    assert record["figures"]["item_emb"]["values"]["gini"] == 0.62


def test_unknown_run_names_the_nearest(project: RunFactory, command: Command) -> None:
    run = project.finished()
    for arguments in (["show"], ["compare"]):
        answer = command("runs", *arguments, f"{run.id[:-1]}f")
        assert answer.status == 2
        assert f"did you mean {run.id}?" in answer.err


def test_show_without_runs_says_how_to_make_one(command: Command) -> None:
    answer = command("runs", "show")
    assert answer.status == 0
    assert "gradtracer.watch(model" in answer.out


def two_runs(project: RunFactory) -> tuple[str, str]:
    ids: list[str] = []
    for rank, type_ in ((21.5, ZOMBIES), (40.0, BIAS)):
        run = project.start(argv=["--rank", str(rank)])
        run.watch_layers()
        run.observe("item_emb", step=100, effective_rank=rank)
        run.diagnose(type_, "item_emb")
        run.progress(step=300)
        run.end()
        ids.append(run.id)
    return ids[0], ids[1]


def test_newest_run_is_compared_with_the_one_before(project: RunFactory, command: Command) -> None:
    before, after = two_runs(project)
    answer = command("runs", "compare")
    assert answer.status == 0
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines == [
        f"{before} to {after}, both at step 300",
        "arguments before: --rank 21.5",
        "arguments after: --rank 40.0",
        f"raised: {BIAS} item_emb",
        f"no longer found: {ZOMBIES} item_emb",
        "item_emb",
        "Effective rank 21.5 to 40",
        "3 figures differ by less than 5 %.",
    ]
    assert command("runs", "compare", before).out == answer.out
    assert command("runs", "compare", before, after).out == answer.out


def test_comparison_is_told_to_programs(project: RunFactory, command: Command) -> None:
    before, after = two_runs(project)
    (record,) = json.loads(command("runs", "compare", "--output-format", "json").out)
    assert (record["before"], record["after"], record["step"]) == (before, after, 300)
    assert record["raised"] == [f"{BIAS} item_emb"]
    rank = next(each for each in record["differences"] if each["statistic"] == "effective_rank")
    assert rank == {
        "layer": "item_emb",
        "statistic": "effective_rank",
        "before": 21.5,
        "after": 40.0,
    }


@pytest.mark.parametrize("names", [[], ["a", "b", "c"]])
def test_what_is_no_pair_is_a_usage_error(
    project: RunFactory, command: Command, names: list[str]
) -> None:
    assert command("runs", "compare", *names).status == 2
    project.finished()
    answer = command("runs", "compare", *names)
    assert answer.status == 2
    assert "two runs" in answer.err


def test_old_runs_are_deleted_when_it_is_said_so(project: RunFactory, command: Command) -> None:
    runs = [project.finished() for _ in range(4)]
    told = command("runs", "prune", "--keep", "2")
    assert told.status == 0
    assert told.out.count("would delete ") == 2
    assert all(run.folder.exists() for run in runs)
    assert command("runs", "prune", "--keep", "2", "--yes").status == 0
    assert [run.folder.exists() for run in runs] == [False, False, True, True]
    assert command("runs", "prune", "--keep", "2", "--yes").out == "No run to delete.\n"


def test_runs_beyond_those_that_commands_look_at_are_deleted_too(
    project: RunFactory, command: Command
) -> None:
    runs = [project.finished() for _ in range(55)]
    command("runs", "prune", "--keep", "1", "--yes")
    assert [run.folder.exists() for run in runs] == [False] * 54 + [True]


def test_age_is_that_of_the_start(project: RunFactory, command: Command) -> None:
    old, young = project.finished(), project.finished()
    long_ago = f'"time":{time.time() - 10 * 86_400}'.encode()
    old.rewrite_start(
        lambda line: line[: line.index(b'"time":')] + long_ago + line[line.index(b',"body"') :]
    )
    command("runs", "prune", "--older-than", "7", "--yes")
    assert (old.folder.exists(), young.folder.exists()) == (False, True)


def test_live_run_is_never_deleted(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    assert "No run to delete" in command("runs", "prune", "--keep", "0", "--yes").out
    assert run.folder.exists()


def test_what_is_no_run_is_never_deleted(
    project: RunFactory, command: Command, tmp_path: Path
) -> None:
    run = project.finished()
    runs = run.folder.parent
    (runs / "notes").mkdir()
    (runs / "notes" / "events.jsonl").write_text("mine\n")
    outside = tmp_path / "outside"
    run.folder.rename(outside)
    (runs / run.id).symlink_to(outside)
    command("runs", "prune", "--keep", "0", "--yes")
    assert (outside / "events.jsonl").exists()
    assert (runs / "notes" / "events.jsonl").exists()


def test_run_of_another_protocol_is_old_like_others(project: RunFactory, command: Command) -> None:
    run = project.finished()
    run.rewrite_start(of_protocol_2)
    command("runs", "prune", "--keep", "0", "--yes")
    assert not run.folder.exists()


@pytest.mark.parametrize("arguments", [[], ["--keep", "-1"], ["--keep", "x"]])
def test_prune_needs_to_know_what_is_old(command: Command, arguments: list[str]) -> None:
    answer = command("runs", "prune", *arguments)
    assert answer.status == 2
    assert "--keep" in answer.err or "number of runs" in answer.err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may delete anything")
def test_folder_that_cannot_be_deleted_is_told(project: RunFactory, command: Command) -> None:
    run = project.finished()
    run.folder.parent.chmod(0o500)
    try:
        answer = command("runs", "prune", "--keep", "0", "--yes")
    finally:
        run.folder.parent.chmod(0o700)
    assert answer.status == 2
    assert "Permission denied" in answer.err
