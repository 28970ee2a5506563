"""The state of a run, from its journal and its socket alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_factory import RunFactory, RunWriter, of_protocol_2

from gradtracer_schemas import MAX_FRAME_BYTES, RunStarted
from gradtracer_server.journal import JournalReader, Record, Skipped
from gradtracer_server.render.card import outcome_sentence
from gradtracer_server.runs import SILENCE_SECONDS, Run


def read(writer: RunWriter) -> Run:
    run = Run(writer.folder)
    assert run.catch_up()
    return run


def records_of(writer: RunWriter) -> list[Record]:
    return JournalReader(writer.journal).read_new()


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def test_journal_tells_the_whole_story(project: RunFactory) -> None:
    writer = project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    run = read(writer)
    assert run.status == "finished"
    assert run.started is not None
    assert run.started.script == str(project.script)
    assert list(run.layers) == ["user_emb", "item_emb"]
    assert run.layers["item_emb"].observed_step == 100
    assert [d.type for d in run.diagnoses.values()] == ["ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS"]
    assert run.progress is not None
    assert run.progress.step == 300
    assert run.seq == writer.seq - 1
    assert run.gaps == run.problems == run.foreign == 0


def test_diagnosis_is_updated_and_cleared(project: RunFactory) -> None:
    writer = project.start()
    diagnosis = writer.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    writer.update(writer.diagnosis("ZOMBIE_EMBEDDINGS", "item_emb", confidence=0.5))
    run = read(writer)
    assert run.diagnoses[diagnosis.id].confidence == 0.5
    before = run.revision
    writer.clear(diagnosis)
    run.catch_up()
    assert run.diagnoses == {}
    assert run.revision > before


def test_record_after_a_gap_is_refused_until_the_journal_filled_it(project: RunFactory) -> None:
    writer = project.start()
    run = read(writer)
    writer.watch_layers()
    late = writer.observe("item_emb")
    assert not run.accept(late)
    assert run.layers == {}
    run.catch_up()
    assert run.accept(late)
    assert set(run.layers) == {"user_emb", "item_emb"}
    assert run.gaps == 0


def test_known_record_changes_nothing(project: RunFactory) -> None:
    writer = project.finished()
    run = read(writer)
    before = run.revision
    assert all(run.accept(record) for record in records_of(writer))
    assert run.revision == before


def test_events_that_only_the_socket_brought_are_taken_and_the_gap_counted(
    project: RunFactory,
) -> None:
    writer = project.start()
    records = records_of(writer)
    writer.journal.unlink()
    run = Run(writer.folder)
    run.accept_all(records)
    run.accept_all([Skipped("hologram", 3), Skipped("hologram", 4)])
    assert run.seq == 4
    assert run.gaps == 2


def test_line_lost_to_a_bad_disk_is_counted_as_a_gap(project: RunFactory) -> None:
    writer = project.start()
    writer.seq += 1
    writer.write(b"\x00\x00\x00\n")
    writer.watch_layers()
    run = read(writer)
    assert run.gaps == 1
    assert run.problems == 1
    assert len(run.layers) == 2


def test_unknown_kind_makes_no_gap(project: RunFactory) -> None:
    writer = project.start()
    writer.write(b'{"kind":"hologram","protocol":"1.9","seq":1}\n')
    writer.seq += 1
    writer.watch_layers()
    run = read(writer)
    assert run.gaps == run.problems == 0
    assert len(run.layers) == 2


def test_replaced_journal_forgets_what_it_told(project: RunFactory) -> None:
    writer = project.finished(run_id="20250101-000000-aaaaaa")
    run = read(writer)
    for child in writer.folder.iterdir():
        child.unlink()
    writer.folder.rmdir()
    again = project.start(run_id="20250101-000000-aaaaaa")
    again.watch_layers()
    run.catch_up()
    assert run.status == "live"
    assert run.diagnoses == {}
    assert len(run.layers) == 2


def test_events_of_another_run_are_passed_over(project: RunFactory) -> None:
    writer, other = project.start(), project.finished()
    writer.write(b"".join(other.journal.read_bytes().splitlines(keepends=True)[1:]))
    run = read(writer)
    assert run.layers == {}
    assert run.foreign == other.seq - 1


def test_observation_of_a_layer_never_announced_is_passed_over(project: RunFactory) -> None:
    writer = project.start()
    writer.observe("nobody")
    assert read(writer).layers == {}


def test_run_of_this_process_is_live(project: RunFactory) -> None:
    run = read(project.start())
    assert not run.check_process()
    assert run.status == "live"


def test_run_whose_process_is_gone_ended_without_a_goodbye(project: RunFactory) -> None:
    run = read(project.start(pid=dead_pid(), process_started=""))
    before = run.revision
    assert run.check_process()
    assert run.status == "vanished"
    assert run.revision > before
    assert not run.check_process()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_reused_process_id_does_not_keep_a_run_alive(project: RunFactory) -> None:
    run = read(project.start(pid=os.getpid(), process_started="1"))
    run.check_process()
    assert run.status == "vanished"


def test_goodbye_written_just_before_the_death_is_heard(project: RunFactory) -> None:
    writer = project.start(pid=dead_pid(), process_started="")
    run = read(writer)
    writer.end("interrupted")
    run.check_process()
    assert run.status == "interrupted"


def test_run_on_another_host_is_live_while_it_writes(project: RunFactory) -> None:
    writer = project.start(host=f"not-{socket.gethostname()}")
    run = read(writer)
    run.check_process()
    assert run.status == "live"
    long_ago = time.time() - SILENCE_SECONDS - 10
    os.utime(writer.journal, (long_ago, long_ago))
    run.check_process()
    assert run.status == "vanished"
    writer.watch_layers()
    assert run.check_process()
    assert run.status == "live"


def test_peek_learns_start_and_end_without_reading(project: RunFactory) -> None:
    run = Run(project.finished().folder)
    assert run.peek()
    assert run.status == "finished"
    assert outcome_sentence(run) == "finished at step 300."
    assert not run.read
    run.catch_up()
    assert run.read


def test_peek_refuses_a_folder_that_is_no_run(project: RunFactory, tmp_path: Path) -> None:
    assert not Run(tmp_path).peek()
    writer = project.start()
    moved = writer.folder.rename(writer.folder.with_name("20250101-000000-ffffff"))
    assert not Run(moved).peek()


def test_run_of_another_protocol_says_what_to_update(project: RunFactory) -> None:
    writer = project.start()
    writer.rewrite_start(of_protocol_2)
    run = Run(writer.folder)
    assert run.peek()
    run.check_process()
    assert run.status == "unreadable"
    assert run.unreadable == (
        "written by protocol 2.0: "
        "update gradtracer in the environment of the editor or of the training"
    )


@pytest.mark.parametrize("line", [b"", b"{", b"\x00" * 70_000, b"x" * (MAX_FRAME_BYTES + 1)])
def test_run_whose_first_line_is_damaged_knows_what_the_others_say(
    project: RunFactory, line: bytes
) -> None:
    writer = project.start()
    writer.rewrite_start(lambda _: line)
    run = Run(writer.folder)
    assert run.peek()
    assert (run.status, run.unreadable) == (
        "unreadable",
        "its journal cannot be read from the start",
    )
    writer.watch_layers()
    writer.observe("item_emb", step=70)
    again = Run(writer.folder)
    for each in (run, again):
        assert each.peek()
        each.check_process()
        assert (each.status, each.unreadable, each.started) == ("live", "", None)
        assert set(each.layers) == {"user_emb", "item_emb"}
        assert each.last_step == 70
        assert each.gaps == 1
        assert each.started_at is not None
    writer.end("interrupted")
    again.catch_up()
    assert again.status == "interrupted"


def test_long_first_line_is_read_whole(project: RunFactory) -> None:
    run = Run(project.start(argv=["x" * 200_000]).folder)
    assert run.peek()
    assert run.started is not None


def test_start_with_an_impossible_process_is_vanished(project: RunFactory) -> None:
    run = read(project.start(pid=-1))
    assert isinstance(run.started, RunStarted)
    run.check_process()
    assert run.status == "vanished"


@given(data=st.data())
def test_socket_in_any_order_with_losses_ends_where_the_journal_ends(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    writer = RunFactory(tmp_path_factory.mktemp("project")).finished("ZOMBIE_EMBEDDINGS")
    records = records_of(writer)
    arriving = data.draw(st.lists(st.sampled_from(records), max_size=12))
    run, reference = Run(writer.folder), read(writer)
    for record in arriving:
        run.accept_all([record])
    run.catch_up()
    assert run.seq == reference.seq
    assert run.diagnoses == reference.diagnoses
    assert run.layers == reference.layers
    assert run.status == reference.status
    assert run.gaps == 0
