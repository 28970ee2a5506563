"""The subscriber against real CURVE publishers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from run_factory import RunFactory, RunWriter, WaitUntil

from gradtracer_schemas import TOPIC, Progress, encode_event
from gradtracer_server.discovery import read_connection
from gradtracer_server.journal import Record
from gradtracer_server.runs import Run
from gradtracer_server.subscriber import Subscriber


class Inbox:
    """What a subscriber delivered, by run folder."""

    def __init__(self) -> None:
        self.records: dict[Path, list[Record]] = {}
        self.threads: set[int] = set()

    def __call__(self, folder: Path, records: list[Record]) -> None:
        self.threads.add(threading.get_ident())
        self.records.setdefault(folder, []).extend(records)

    def seqs(self, run: RunWriter) -> list[int]:
        return [record.seq for record in self.records.get(run.folder, [])]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def subscriber(inbox: Inbox) -> Iterator[Subscriber]:
    subscriber = Subscriber(inbox)
    yield subscriber
    subscriber.close()


def follow(subscriber: Subscriber, run: RunWriter) -> None:
    connection = read_connection(run.folder)
    assert connection is not None
    subscriber.add(run.folder, connection)


def await_link(run: RunWriter, inbox: Inbox, wait_until: WaitUntil) -> None:
    """Publish until something arrives: a publisher drops what nobody has subscribed to yet."""

    def arrived() -> bool:
        run.progress(step=1)
        return bool(inbox.seqs(run))

    wait_until(arrived)


def test_events_arrive_in_order_on_one_thread(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    live_run.observe("item_emb")
    wait_until(lambda: inbox.seqs(live_run)[-1] == live_run.seq - 1)
    seqs = inbox.seqs(live_run)
    assert seqs == list(range(seqs[0], live_run.seq))
    assert len(inbox.threads) == 1
    assert threading.get_ident() not in inbox.threads


def test_burst_of_5000_events_loses_none(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    run = Run(live_run.folder)
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    first = live_run.seq
    diagnoses = [
        live_run.diagnosis("ZOMBIE_EMBEDDINGS", "item_emb", id=f"ZOMBIE_EMBEDDINGS:{n}@x")
        for n in range(10)
    ]
    for n in range(5000):
        live_run.update(diagnoses[n % 10], step=n)
    assert live_run.seq == first + 5000
    # The bell that ends the burst rings until it is heard; the journal has what the socket lost.
    wait_until(lambda: live_run.progress(step=5000) and inbox.seqs(live_run)[-1] > first + 5000)
    subscriber.close()
    run.accept_all(inbox.records[live_run.folder])
    run.catch_up()
    assert run.seq == live_run.seq - 1
    assert run.gaps == 0
    assert len(run.diagnoses) == 10


def test_gap_on_the_socket_is_filled_from_the_journal(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    run = Run(live_run.folder)
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    publisher, live_run.socket = live_run.socket, None
    silent = live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    live_run.socket = publisher
    last = live_run.progress(step=2)
    wait_until(lambda: inbox.seqs(live_run)[-1] == last.seq)
    assert last.seq - 1 not in inbox.seqs(live_run)
    run.accept_all(inbox.records[live_run.folder])
    assert silent.id in run.diagnoses
    assert run.gaps == 0


def test_wrong_server_key_brings_nothing(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    connection = read_connection(live_run.folder)
    assert connection is not None
    stranger = msgspec.structs.replace(connection, server_key=zmq.curve_keypair()[0].decode())
    elsewhere = live_run.folder / "stranger"
    subscriber.add(elsewhere, stranger)
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    await_link(live_run, inbox, wait_until)
    assert elsewhere not in inbox.records


def test_plain_subscriber_without_a_key_gets_nothing(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    connection = read_connection(live_run.folder)
    assert connection is not None
    with zmq.Context() as context, context.socket(zmq.SUB) as plain:
        plain.subscribe(b"")
        plain.connect(connection.events)
        follow(subscriber, live_run)
        await_link(live_run, inbox, wait_until)
        assert not plain.poll(0)


def test_foreign_and_malformed_messages_are_counted_said_once_and_dropped(
    live_run: RunWriter,
    inbox: Inbox,
    subscriber: Subscriber,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    assert live_run.socket is not None
    theirs = RunFactory(live_run.project.root / "other").start(run_id="20240101-000000-other")
    foreign = [
        [TOPIC],
        [TOPIC, b"{}", b"{}"],
        [TOPIC + b"0", b"{}"],
        [TOPIC, b"\xff not json"],
        [TOPIC, encode_event(theirs.progress(step=1))],
    ]
    for frames in foreign:
        live_run.socket.send_multipart(frames)
    last = live_run.progress(step=3)
    wait_until(lambda: inbox.seqs(live_run)[-1] == last.seq)
    assert subscriber.dropped == len(foreign)
    assert caplog.text.count("a message was dropped") == 1
    assert all(record.run == live_run.id for record in inbox.records[live_run.folder])


def test_event_of_an_unknown_kind_keeps_the_sequence_whole(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    assert live_run.socket is not None
    line = f'{{"kind":"hologram","protocol":"1.9","seq":{live_run.seq}}}'.encode()
    live_run.seq += 1
    live_run.socket.send_multipart([TOPIC, line])
    last = live_run.progress(step=3)
    wait_until(lambda: inbox.seqs(live_run)[-1] == last.seq)
    assert inbox.seqs(live_run)[-2:] == [last.seq - 1, last.seq]
    assert subscriber.dropped == 0


def test_several_runs_are_followed_at_once_and_one_can_be_left(
    tmp_path: Path, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    runs = [RunFactory(tmp_path / name).start() for name in ("a", "b")]
    try:
        for run in runs:
            run.open_socket()
            follow(subscriber, run)
            await_link(run, inbox, wait_until)
        left, kept = runs
        subscriber.remove(left.folder)

        def left_is_silent() -> bool:
            before = inbox.seqs(left)
            left.progress(step=1)
            seen = len(inbox.seqs(kept))
            wait_until(lambda: kept.progress(step=1) and len(inbox.seqs(kept)) > seen)
            return inbox.seqs(left) == before

        wait_until(left_is_silent)
    finally:
        for run in runs:
            run.close_socket()


def test_failing_callback_does_not_end_the_stream(
    live_run: RunWriter, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[int] = []

    def on_events(_: Path, records: list[Record]) -> None:
        steps.append(len(records))
        if len(steps) == 1:
            raise RuntimeError("the editor is gone")

    subscriber = Subscriber(on_events)
    follow(subscriber, live_run)
    wait_until(lambda: live_run.progress(step=1) and len(steps) > 2)
    subscriber.close()
    assert "the editor is gone" in caplog.text


def test_key_that_is_no_key_is_refused_with_a_reason(
    live_run: RunWriter,
    inbox: Inbox,
    subscriber: Subscriber,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = read_connection(live_run.folder)
    assert connection is not None
    broken = msgspec.structs.replace(connection, server_key="\u00e9" * 40)
    subscriber.add(live_run.folder, broken)
    wait_until(lambda: "cannot be followed" in caplog.text)
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)


def test_publisher_that_dies_and_returns_is_followed_again(
    project: RunFactory, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    run = project.start()
    run.open_socket()
    follow(subscriber, run)
    await_link(run, inbox, wait_until)
    run.close_socket()
    run.open_socket()
    heard = len(inbox.seqs(run))
    follow(subscriber, run)
    wait_until(lambda: run.progress(step=2) and len(inbox.seqs(run)) > heard)
    run.close_socket()


def test_close_ends_the_thread_and_may_be_called_twice(live_run: RunWriter, inbox: Inbox) -> None:
    subscriber = Subscriber(inbox)
    follow(subscriber, live_run)
    subscriber.close()
    subscriber.close()
    follow(subscriber, live_run)
    assert "gradtracer-subscriber" not in {thread.name for thread in threading.enumerate()}


def test_subscriber_that_follows_nothing_starts_no_thread(inbox: Inbox) -> None:
    Subscriber(inbox).close()
    assert "gradtracer-subscriber" not in {thread.name for thread in threading.enumerate()}


def test_progress_body_survives_the_wire(
    live_run: RunWriter, inbox: Inbox, subscriber: Subscriber, wait_until: WaitUntil
) -> None:
    follow(subscriber, live_run)
    await_link(live_run, inbox, wait_until)
    sent = live_run.emit(Progress(step=7, loss=0.25, metrics={"ndcg@10": 0.04}), step=7)
    wait_until(lambda: inbox.seqs(live_run)[-1] == sent.seq)
    assert inbox.records[live_run.folder][-1] == sent


def test_close_right_after_add_never_waits(live_run: RunWriter, inbox: Inbox) -> None:
    for _ in range(50):
        subscriber = Subscriber(inbox)
        follow(subscriber, live_run)
        subscriber.close()
    assert "gradtracer-subscriber" not in {thread.name for thread in threading.enumerate()}
