"""What is emitted reaches the journal in order and without loss, and readers by the socket."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import zmq

from gradtracer.transport.stream import EventStream
from gradtracer_schemas import (
    TOPIC,
    Intervention,
    InterventionEvent,
    Observation,
    ObservationEvent,
    Progress,
    ProgressEvent,
    decode_connection,
    decode_event,
    decode_frames,
)
from patience import PATIENCE


def intervention(number: int) -> Intervention:
    return Intervention(
        layer="item_emb",
        action="shrink-updates",
        rows=number,
        held_out=0,
        holdout=0.2,
        seed=0,
        mean_scale=0.5,
        reason="a test",
    )


@pytest.fixture
def stream(tmp_path: Path) -> EventStream:
    return EventStream("20260101-000000-abcdef", tmp_path / "run", rank=0, pid=1, host="here")


def journal(stream: EventStream) -> list:
    lines = (stream.folder / "events.jsonl").read_bytes().splitlines()
    return [decode_event(line) for line in lines]


def subscriber(context: zmq.Context, stream: EventStream, key: bytes | None = None) -> zmq.Socket:
    connection = decode_connection((stream.folder / "connection.json").read_bytes())
    socket = context.socket(zmq.SUB)
    public, secret = zmq.curve_keypair()
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.curve_serverkey = key or connection.server_key.encode()
    socket.setsockopt(zmq.SUBSCRIBE, TOPIC)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(connection.events)
    return socket


def test_a_burst_of_5000_events_is_journalled_whole_and_in_order(stream: EventStream):
    stream.open(publish=False)
    threads = [
        threading.Thread(
            target=lambda: [
                stream.submit(InterventionEvent, intervention(n), step=n) for n in range(1250)
            ]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.close()
    assert [event.seq for event in journal(stream)] == list(range(5000))


def test_under_pressure_only_the_latest_figures_are_kept_and_nothing_else_is_dropped(
    stream: EventStream,
):
    stream.open(publish=False)
    for number in range(100):
        stream.submit(ObservationEvent, Observation(layer="a", values={"n": number}), number)
        stream.submit(ObservationEvent, Observation(layer="b", values={"n": number}), number)
        stream.submit(ProgressEvent, Progress(step=number), number)
        stream.submit(InterventionEvent, intervention(number), number)
    stream.close()
    events = journal(stream)
    kinds = [type(event) for event in events]
    assert kinds.count(InterventionEvent) == 100
    observations = [event for event in events if isinstance(event, ObservationEvent)]
    assert [(o.body.layer, o.body.values["n"]) for o in observations] == [("a", 99), ("b", 99)]
    assert kinds.count(ProgressEvent) == 1
    assert [event.seq for event in events] == list(range(len(events)))


def test_a_reader_with_the_key_hears_what_the_journal_says(stream: EventStream):
    stream.open(publish=True)
    with zmq.Context() as context:
        socket = subscriber(context, stream)
        heard = None
        deadline = time.monotonic() + PATIENCE
        number = 0
        while heard is None and time.monotonic() < deadline:
            stream.submit(InterventionEvent, intervention(number), step=number)
            stream.drain(0)
            number += 1
            if socket.poll(50):
                heard = decode_frames(socket.recv_multipart())
        socket.close()
    stream.close()
    assert heard is not None
    assert heard in journal(stream)


def test_a_reader_without_the_key_hears_nothing(stream: EventStream):
    stream.open(publish=True)
    wrong, _ = zmq.curve_keypair()
    with zmq.Context() as context:
        socket = subscriber(context, stream, key=wrong)
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | 0x7FFF)
        from zmq.utils.monitor import recv_monitor_message

        refused = False
        deadline = time.monotonic() + PATIENCE
        while not refused and time.monotonic() < deadline:
            stream.submit(InterventionEvent, intervention(0), step=0)
            stream.drain(0)
            if monitor.poll(100):
                event = recv_monitor_message(monitor)["event"]
                assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED
                refused = event in {
                    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
                    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
                    zmq.EVENT_DISCONNECTED,
                }
        assert not socket.poll(0)
        socket.disable_monitor()
        monitor.close()
        socket.close()
    stream.close()
    assert refused


def test_a_journal_deleted_under_a_live_run_begins_again_with_what_opened_it(
    stream: EventStream, caplog
):
    import shutil

    from gradtracer_schemas import LayerWatched, LayerWatchedEvent, RunStarted, RunStartedEvent

    stream.open(publish=True)
    started = RunStarted(root="/r", script="s.py", argv=[], pid=1, host="here")
    layer = LayerWatched(layer="a", type="Embedding", shape=[2, 2], dtype="float32", device="cpu")
    stream.submit(RunStartedEvent, started, 0)
    stream.submit(LayerWatchedEvent, layer, 0)
    stream.submit(InterventionEvent, intervention(1), 1)
    stream.drain(0)
    shutil.rmtree(stream.folder)
    stream.submit(InterventionEvent, intervention(2), 2)
    stream.submit(InterventionEvent, intervention(3), 3)
    stream.drain(0)
    stream.submit(InterventionEvent, intervention(4), 4)
    assert (stream.folder / "connection.json").exists()
    stream.close()
    assert [event.seq for event in journal(stream)] == [0, 1, 3, 4, 5]
    assert caplog.text.count("was deleted") == 1


def test_lost_events_are_counted_when_there_is_nowhere_to_write(tmp_path: Path):
    (tmp_path / "file").write_text("")
    stream = EventStream("run", tmp_path / "file" / "run", rank=0, pid=1, host="here")
    stream.open(publish=True)
    stream.submit(InterventionEvent, intervention(0), 0)
    stream.drain(0)
    assert stream.lost == 1
    stream.close()


def test_the_connection_file_goes_with_the_stream(stream: EventStream):
    stream.open(publish=True)
    path = stream.folder / "connection.json"
    assert json.loads(path.read_text())["host"] == "here"
    stream.close()
    assert not path.exists()
