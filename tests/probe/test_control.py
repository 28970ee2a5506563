"""A training takes requests while it goes on: who may ask, what is done, and what it costs."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gradtracer.transport import stream as stream_module
from gradtracer.transport.control import MOST_AT_ONCE, ROUND_SECONDS, ControlSocket
from gradtracer.transport.stream import EventStream
from gradtracer_schemas import (
    CONTROL_TOPIC,
    Connection,
    ControlAnswer,
    ControlEvent,
    ControlRequest,
    LayerWatchedEvent,
    ObservationEvent,
    ReportNow,
    RequestRefused,
    SetTrackInterval,
    decode_answer,
    decode_connection,
    encode_control,
)
from patience import PATIENCE

GOES_ON = """
run = gradtracer.watch(net, optimizer, track_interval=1000, {arguments})
while not os.path.exists("stop"):
    train(net, optimizer, 5)
    time.sleep(0.001)
print(run.step)
"""
RUN = "20260101-000000-abcdef"


class Controller:
    """A DEALER socket at a run's door."""

    def __init__(self, endpoint: str, key: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
        self.socket.curve_serverkey = key.encode()
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def send(
        self,
        body: SetTrackInterval | ReportNow,
        id: str = "a-1",
        run: str = RUN,
        sender: str = "test",
    ) -> None:
        request = ControlRequest(
            protocol="1.0", run=run, id=id, body=body, sender=sender, reason="a test"
        )
        self.socket.send_multipart(encode_control(request))

    def answer(self, seconds: float = PATIENCE) -> ControlAnswer | None:
        if not self.socket.poll(int(seconds * 1000)):
            return None
        return decode_answer(self.socket.recv_multipart())

    def close(self) -> None:
        self.socket.close()
        self.context.term()


class Door:
    """A control socket in this process, and what it was asked."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = ControlSocket(self.context, RUN)
        self.asked: list[ControlRequest] = []

    def carry_out(self, request: ControlRequest) -> str:
        self.asked.append(request)
        if request.body == SetTrackInterval(interval=13):
            raise RequestRefused(request.id, "thirteen brings no luck")
        if request.body == SetTrackInterval(interval=14):
            raise ZeroDivisionError
        return f"done {len(self.asked)}"

    def serve_until(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        taken = 0
        while taken < count:
            taken += self.socket.serve(self.carry_out, step=7)
            assert time.monotonic() < deadline

    def controller(self, key: str | None = None) -> Controller:
        return Controller(self.socket.endpoint, key or self.socket.key)


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.socket.close()
    door.context.term()


def connection_of(script: Any) -> Connection:
    return decode_connection((script.run_folders[0] / "connection.json").read_bytes())


def test_a_running_training_changes_its_interval_and_says_so(script: Any) -> None:
    process = script.start(GOES_ON.format(arguments=""))
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    connection = connection_of(script)
    controller = Controller(connection.control, connection.control_key)
    controller.send(SetTrackInterval(interval=1), run=connection.run, sender="editor")
    answer = controller.answer()
    controller.close()
    assert answer is not None and answer.status == "accepted", answer

    def followed() -> float:
        found = [e for e in script.events() if isinstance(e, ObservationEvent)]
        return found[-1].body.values["steps"]

    before = followed()
    # At one step in a thousand this would take 200,000 steps.
    script.wait_for(process, lambda: followed() >= before + 200)
    (script.folder / "stop").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert int(out) < 100_000

    events = script.events()
    (change,) = [e for e in events if isinstance(e, ControlEvent)]
    assert change.body.sender == "editor"
    assert (change.body.setting, change.body.value) == ("track_interval", 1)
    declared = [e for e in events if isinstance(e, LayerWatchedEvent)]
    assert [e.body.settings["track_interval"] for e in declared] == [1000, 1]
    lines = (script.folder / ".gradtracer" / "audit.jsonl").read_text().splitlines()
    (audited,) = [json.loads(line) for line in lines]
    assert audited["type"] == "control"
    assert (audited["request"], audited["setting"], audited["value"]) == ("a-1", *change_of(change))
    assert audited["layers"] == ["item_emb"]


def change_of(event: ControlEvent) -> tuple[str, bool | int]:
    return event.body.setting, event.body.value


def test_two_controllers_are_both_heard_and_the_later_one_holds(script: Any) -> None:
    process = script.start(GOES_ON.format(arguments=""))
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    connection = connection_of(script)
    controllers = [Controller(connection.control, connection.control_key) for _ in range(2)]
    for number in range(1, 11):
        for index, controller in enumerate(controllers):
            body = SetTrackInterval(interval=2 * number + index)
            controller.send(body, id=f"c{index}-{number}", run=connection.run)
    for controller in controllers:
        answers = [controller.answer() for _ in range(10)]
        assert [a.status for a in answers if a is not None] == ["accepted"] * 10
        controller.close()
    (script.folder / "stop").touch()
    process.communicate(timeout=PATIENCE)
    changes = [e for e in script.events() if isinstance(e, ControlEvent)]
    assert len(changes) == 20
    declared = [e for e in script.events() if isinstance(e, LayerWatchedEvent)]
    assert declared[-1].body.settings["track_interval"] == changes[-1].body.value


def test_a_run_may_close_the_door(script: Any) -> None:
    process = script.start(GOES_ON.format(arguments="control=False"))
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    connection = connection_of(script)
    (script.folder / "stop").touch()
    process.communicate(timeout=PATIENCE)
    assert (connection.control, connection.control_key) == ("", "")


def test_the_key_of_the_stream_does_not_open_the_door(tmp_path: Path) -> None:
    stream = EventStream(RUN, tmp_path / "run", rank=0, pid=1, host="here")
    stream.open(publish=True, control=True)
    connection = decode_connection((tmp_path / "run" / "connection.json").read_bytes())
    reader = Controller(connection.control, connection.server_key)
    reader.send(ReportNow(), id="reader")
    holder = Controller(connection.control, connection.control_key)
    asked: list[str] = []
    deadline = time.monotonic() + PATIENCE
    # The one who may is answered, so that the other would have been, too.
    for number in range(20):
        holder.send(ReportNow(), id=f"holder-{number}")
        answer = None
        while answer is None:
            stream.serve(lambda request: asked.append(request.id) or "done", 0)
            answer = holder.answer(0.01)
            assert time.monotonic() < deadline
    assert reader.answer(0.1) is None
    assert "reader" not in asked and len(asked) == 20
    for each in (reader, holder):
        each.close()
    stream.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no modes")
def test_where_the_file_cannot_be_private_the_door_stays_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = stream_module.write_connection_file

    def without_modes(path: Path, connection: Connection) -> None:
        write(path, connection)
        path.chmod(0o644)

    monkeypatch.setattr(stream_module, "write_connection_file", without_modes)
    stream = EventStream(RUN, tmp_path / "run", rank=0, pid=1, host="here")
    stream.open(publish=True, control=True)
    connection = decode_connection((tmp_path / "run" / "connection.json").read_bytes())
    stream.close()
    assert connection.control == ""
    assert connection.events != ""
    assert "takes no requests" in caplog.text


def test_a_repeated_request_is_answered_alike_and_not_done_again(door: Door) -> None:
    controller = door.controller()
    for _ in range(3):
        controller.send(ReportNow(), id="once")
    door.serve_until(3)
    answers = [controller.answer() for _ in range(3)]
    controller.close()
    assert len(door.asked) == 1
    assert answers[0] is not None and answers[0].reason == "done 1"
    assert answers == [answers[0]] * 3


def test_refusals_are_told_with_their_reason(door: Door) -> None:
    controller = door.controller()
    controller.send(SetTrackInterval(interval=13), id="unlucky")
    controller.send(SetTrackInterval(interval=14), id="broken")
    controller.send(ReportNow(), id="stray", run="20260101-000000-000000")
    controller.socket.send_multipart([b"gradtracer/1", b"{}"])
    unknown = {"protocol": "1.0", "run": RUN, "id": "new", "body": {"action": "fly"}}
    controller.socket.send_multipart([CONTROL_TOPIC, json.dumps(unknown).encode()])
    door.serve_until(5)
    answers = [controller.answer() for _ in range(4)]
    assert controller.answer(0.05) is None
    controller.close()
    told = {a.id: a.reason for a in answers if a is not None and a.status == "refused"}
    assert "thirteen" in told["unlucky"]
    assert "failed in the training" in told["broken"]
    assert "the request is for 20260101-000000-000000" in told["stray"]
    assert "'fly'" in told["new"]
    assert door.socket.foreign == 1


def test_a_flood_is_taken_a_few_at_a_time(door: Door) -> None:
    flood = 400
    controllers = [door.controller() for _ in range(2)]

    def pour(controller: Controller, name: int) -> None:
        for number in range(flood // 2):
            controller.send(ReportNow(), id=f"{name}-{number}")

    threads = [
        threading.Thread(target=pour, args=pair) for pair in zip(controllers, range(2), strict=True)
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    rounds: list[int] = []
    while len(door.asked) < flood:
        taken = door.socket.serve(door.carry_out, step=0)
        rounds.append(taken)
        if taken:
            assert door.socket.serve(door.carry_out, step=0) == 0
        assert time.monotonic() - began < PATIENCE
    elapsed = time.monotonic() - began
    for thread in threads:
        thread.join()
    for controller in controllers:
        controller.close()
    assert max(rounds) == MOST_AT_ONCE
    assert flood <= MOST_AT_ONCE * (elapsed / ROUND_SECONDS + 1)


def test_interval_of_a_table_may_change_within_a_burst_and_within_a_pause() -> None:
    import torch
    from bursts import follows_next

    from gradtracer.analyzers.table_observer import TableObserver

    observer = TableObserver(torch.zeros(50, 4), track_interval=100, seed=0, padding_idx=None)
    follows = [follows_next(observer, 16) for _ in range(300)]
    length = follows.index(False)
    assert follows == [True] * length + [False] * (300 - length)
    started: list[int] = []
    observer.tracked_steps = length
    observer.noise.start_burst = lambda: started.append(1)  # type: ignore[method-assign]
    observer.set_interval(1)
    assert [follows_next(observer, 16) for _ in range(5)] == [False, True, True, True, True]
    # The gradients on both sides of the pause are not successive ones.
    assert started == [1]
    observer.set_interval(2)
    follows = [follows_next(observer, 16) for _ in range(4 * length)]
    assert sum(follows) == pytest.approx(2 * length, abs=length)
