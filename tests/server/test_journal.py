"""The journal reader: whole lines only, nothing trusted, nothing fatal."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_factory import RunFactory

from gradtracer_schemas import MAX_FRAME_BYTES, RunStartedEvent, encode_event
from gradtracer_server.exceptions import JournalUnreadable
from gradtracer_server.journal import JournalReader, Record, Skipped, first_record


def sequence(records: list[Record]) -> list[int]:
    return [record.seq for record in records]


def test_each_call_returns_what_was_added_since(project: RunFactory) -> None:
    run = project.start()
    reader = JournalReader(run.journal)
    assert sequence(reader.read_new()) == [0]
    assert reader.read_new() == []
    run.watch_layers()
    assert sequence(reader.read_new()) == [1, 2]


def test_torn_last_line_waits_for_its_end(project: RunFactory) -> None:
    run = project.start()
    reader = JournalReader(run.journal)
    reader.read_new()
    before = run.journal.stat().st_size
    run.progress(step=1)
    content = run.journal.read_bytes()
    os.truncate(run.journal, before + 20)
    assert reader.read_new() == []
    assert reader.problems == 0
    run.write(content[before + 20 :])
    assert sequence(reader.read_new()) == [1]


def test_bad_lines_are_counted_and_skipped(project: RunFactory) -> None:
    run = project.start()
    run.write(b"{not json}\n\xff\xfe\n[]\n\n   \n")
    run.progress(step=1)
    reader = JournalReader(run.journal)
    assert sequence(reader.read_new()) == [0, 1]
    assert reader.problems == 3
    assert reader.last_problem


def test_line_of_another_protocol_says_what_to_update(project: RunFactory) -> None:
    run = project.start()
    line = encode_event(run.progress(step=1)).replace(b'"protocol":"1.0"', b'"protocol":"7.0"')
    run.write(line + b"\n")
    reader = JournalReader(run.journal)
    reader.read_new()
    assert reader.problems == 1
    assert "update gradtracer" in reader.last_problem


def test_unknown_kind_keeps_its_place_in_the_sequence(project: RunFactory) -> None:
    run = project.start()
    run.write(b'{"kind":"hologram","protocol":"1.9","seq":1}\n')
    reader = JournalReader(run.journal)
    assert reader.read_new()[1] == Skipped("hologram", 1)
    assert reader.problems == 0


@pytest.mark.parametrize("split", [1, MAX_FRAME_BYTES, 2 * MAX_FRAME_BYTES])
def test_endless_line_is_passed_over_once(project: RunFactory, split: int) -> None:
    run = project.start()
    reader = JournalReader(run.journal)
    endless = b"x" * (2 * MAX_FRAME_BYTES + 7)
    run.write(endless[:split])
    assert sequence(reader.read_new()) == [0]
    run.write(endless[split:] + b"\n")
    run.progress(step=1)
    assert sequence(reader.read_new()) == [1]
    assert reader.problems == 1
    assert reader.read_new() == []


def test_truncated_journal_is_read_anew(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    reader = JournalReader(run.journal)
    reader.read_new()
    first = run.journal.read_bytes().split(b"\n")[0]
    run.journal.write_bytes(first + b"\n")
    assert sequence(reader.read_new()) == [0]
    assert reader.generation == 1


def test_journal_rewritten_in_place_and_longer_is_read_anew(project: RunFactory) -> None:
    first, second = project.start(), project.start()
    reader = JournalReader(first.journal)
    reader.read_new()
    second.watch_layers()
    first.journal.write_bytes(second.journal.read_bytes())
    assert sequence(reader.read_new()) == [0, 1, 2]
    assert reader.generation == 1


def test_replaced_journal_is_read_anew(project: RunFactory) -> None:
    first, second = project.start(), project.start()
    reader = JournalReader(first.journal)
    reader.read_new()
    second.journal.replace(first.journal)
    assert sequence(reader.read_new()) == [0]


def test_missing_journal_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="No such file"):
        JournalReader(tmp_path / "events.jsonl").read_new()
    assert first_record(tmp_path / "events.jsonl") is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.jsonl")
    with pytest.raises(JournalUnreadable, match="regular file"):
        JournalReader(tmp_path / "events.jsonl").read_new()


def test_linked_journal_is_refused(project: RunFactory, tmp_path: Path) -> None:
    run = project.start()
    link = tmp_path / "events.jsonl"
    link.symlink_to(run.journal)
    with pytest.raises(JournalUnreadable):
        JournalReader(link).read_new()


def test_first_record_reads_one_line_alone(project: RunFactory) -> None:
    run = project.start()
    run.write(b"x" * 100_000)
    record = first_record(run.journal)
    assert isinstance(record, RunStartedEvent)
    assert record.seq == 0


@given(content=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_in_any_portions_are_survived(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "events.jsonl"
    path.touch()
    reader = JournalReader(path)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for start, end in itertools.pairwise(edges):
        with path.open("ab") as file:
            file.write(content[start:end])
        reader.read_new()
    whole_lines = [line for line in content.split(b"\n")[:-1] if line.strip()]
    assert reader.problems == len(whole_lines)


@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_every_event_arrives_once_however_the_writes_are_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    run = RunFactory(tmp_path_factory.mktemp("project")).finished()
    content = run.journal.read_bytes()
    run.journal.write_bytes(b"")
    reader = JournalReader(run.journal)
    received: list[int] = []
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for start, end in itertools.pairwise(edges):
        run.write(content[start:end])
        received += sequence(reader.read_new())
    assert received == list(range(run.seq))
