"""All runs of a workspace, and which one speaks for each script."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_factory import RunFactory, of_protocol_2

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.journal import JournalReader
from gradtracer_server.runbook import RunBook, earlier_runs, shown_runs
from gradtracer_server.runs import Run


def test_refresh_finds_runs_and_forgets_those_deleted(project: RunFactory) -> None:
    book = RunBook([project.root])
    assert not book.refresh()
    first, second = project.finished(), project.start()
    assert book.refresh()
    assert [run.id for run in book.runs] == [second.id, first.id]
    before = book.revision
    shutil.rmtree(first.folder)
    assert book.refresh()
    assert [run.id for run in book.runs] == [second.id]
    assert book.revision > before


def test_refresh_without_news_changes_nothing(project: RunFactory) -> None:
    project.finished()
    project.start()
    book = RunBook([project.root])
    book.refresh()
    assert not book.refresh()


def test_folder_without_a_start_waits_for_it(project: RunFactory) -> None:
    run = project.start()
    content = run.journal.read_bytes()
    run.journal.write_bytes(content[:40])
    book = RunBook([project.root])
    book.refresh()
    assert book.runs == []
    run.journal.write_bytes(content)
    book.refresh()
    assert [run.id for run in book.runs] == [run.id]


def test_live_runs_are_followed_through_their_journals(project: RunFactory) -> None:
    writer = project.start()
    book = RunBook([project.root])
    book.refresh()
    writer.watch_layers()
    writer.observe("item_emb")
    assert book.refresh()
    (run,) = book.live
    assert run.layers["item_emb"].observation is not None
    writer.end()
    book.refresh()
    assert book.live == []


def test_records_from_the_socket_reach_their_run(project: RunFactory) -> None:
    writer = project.start()
    book = RunBook([project.root])
    book.refresh()
    writer.watch_layers()
    records = JournalReader(writer.journal).read_new()
    assert book.accept(writer.folder, records)
    assert not book.accept(writer.folder, records)
    run = book.get(writer.folder)
    assert run is not None
    assert len(run.layers) == 2


def test_new_run_lets_the_one_before_speak_until_it_has_figures(project: RunFactory) -> None:
    old, new = project.finished(), project.start()
    new.watch_layers()
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [old.id]
    new.observe("item_emb")
    book.refresh()
    assert [run.id for run in book.shown()] == [new.id]


@pytest.mark.parametrize("outcome", ["finished", "interrupted", "failed"])
def test_run_that_ended_without_figures_speaks_all_the_same(
    project: RunFactory, outcome: str
) -> None:
    project.finished()
    new = project.start()
    new.end(outcome)  # type: ignore[arg-type]
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [new.id]


def test_each_script_has_its_own_speaker(project: RunFactory) -> None:
    first = project.finished()
    other = project.start(script=str(project.root / "other.py"))
    other.watch_layers()
    other.observe("item_emb")
    book = RunBook([project.root])
    book.refresh()
    assert {run.id for run in book.shown()} == {first.id, other.id}


def test_script_named_absolutely_or_relatively_is_one(project: RunFactory) -> None:
    project.finished()
    new = project.start(script="train.py")
    new.end()
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [new.id]


def test_run_whose_start_is_damaged_speaks_while_it_is_the_newest(project: RunFactory) -> None:
    damaged = project.finished()
    damaged.rewrite_start(lambda line: line[:-1])
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [damaged.id]
    newer = project.finished()
    book.refresh()
    assert [run.id for run in book.runs] == [newer.id, damaged.id]
    assert [run.id for run in book.shown()] == [newer.id]


def test_unreadable_run_is_known_and_leaves_the_one_before_to_speak(project: RunFactory) -> None:
    old, new = project.finished(), project.finished()
    new.rewrite_start(of_protocol_2)
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.runs] == [new.id, old.id]
    assert [run.id for run in book.shown()] == [old.id]
    assert book.live == []
    assert not book.refresh()


def test_lone_run_without_figures_is_shown_as_it_is(project: RunFactory) -> None:
    run = project.start()
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [run.id]


def test_runs_are_ordered_by_their_start_and_not_by_their_names(project: RunFactory) -> None:
    old = project.finished(run_id="20250101-000000-ffffff")
    new = project.finished(run_id="20250101-000000-000000")
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.runs] == [new.id, old.id]
    assert [run.id for run in book.shown()] == [new.id]


def test_runs_that_began_at_once_are_ordered_by_their_names(
    project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_750_000_000.0)
    ids = ["20250615-150640-bbbbbb", "20250615-150640-cccccc", "20250615-150640-aaaaaa"]
    for each in ids:
        project.finished(run_id=each)
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.runs] == sorted(ids, reverse=True)


def test_old_runs_are_not_read_when_a_newer_one_speaks(project: RunFactory) -> None:
    old, new = project.finished(), project.finished()
    book = RunBook([project.root])
    book.refresh()
    assert {run.id: run.read for run in book.runs} == {old.id: False, new.id: True}


def test_run_that_dies_is_vanished_at_the_next_look(project: RunFactory) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        project.start(pid=process.pid, process_started="")
        book = RunBook([project.root])
        book.refresh()
        assert [run.status for run in book.runs] == ["live"]
        process.kill()
    assert book.refresh()
    assert [run.status for run in book.runs] == ["vanished"]


def test_runs_of_moved_projects_keep_their_scripts_apart(tmp_path: Path) -> None:
    writers = [RunFactory(tmp_path / name).finished() for name in ("a", "b")]
    runs = [Run(writer.folder) for writer in writers]
    for run in runs:
        run.catch_up()
    assert len(shown_runs(runs)) == 2


def _call(line: int, text: str, qualname: str = "<module>") -> SourceSite:
    frame = SourceFrame(
        file="train.py",
        start_line=line,
        start_column=0,
        end_line=line,
        end_column=len(text),
        qualname=qualname,
        text=text,
    )
    return SourceSite(frames=[frame], origin="call")


def _finished(project: RunFactory, watch: SourceSite, pid: int) -> str:
    run = project.start(watch=watch, pid=pid, process_started="")
    run.end()
    return run.id


def test_every_training_of_one_process_speaks_and_the_newest_of_a_line(project: RunFactory) -> None:
    first, second = _call(10, "a = xgb.train(p, d)"), _call(20, "b = lgb.train(p, d)")
    _finished(project, first, pid=2_000_001)
    once = _finished(project, second, pid=2_000_002)
    _finished(project, first, pid=2_000_002)
    again = _finished(project, first, pid=2_000_002)
    book = RunBook([project.root])
    book.refresh()
    assert [run.id for run in book.shown()] == [again, once]


def test_run_is_compared_with_the_one_before_of_the_same_call(project: RunFactory) -> None:
    boost, fit = "booster = xgb.train(", "model.fit("
    old = _finished(project, _call(10, f"{boost}a, d)"), pid=2_000_001)
    _finished(project, _call(20, f"{fit}x)"), pid=2_000_001)
    _finished(project, _call(30, f"{boost}a, d)", "elsewhere"), pid=2_000_001)
    _finished(project, _call(21, f"{fit}x, y)"), pid=2_000_002)
    new = _finished(project, _call(11, f"{boost}b, d, 500)"), pid=2_000_002)
    book = RunBook([project.root])
    book.refresh()
    (run,) = (run for run in book.runs if run.id == new)
    assert [each.id for each in earlier_runs(run, book.runs)] == [old]
