"""A training is changed while it goes on: from the command line, by an agent, from an editor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from lsp.editor import Editor

from gradtracer_schemas import ReportNow, SetTrackInterval, decode_connection
from gradtracer_server.__main__ import main
from gradtracer_server.control import ask, live_run, request_of
from gradtracer_server.exceptions import ControlFailed, UsageError
from gradtracer_server.headless.desk import Desk
from gradtracer_server.runbook import RunBook
from gradtracer_server.runs import Run
from patience import PATIENCE

SCRIPT = """
import os, time
import torch
from torch import nn
import gradtracer

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_emb = nn.Embedding(50, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, ids):
        return self.out(self.item_emb(ids))

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
run = gradtracer.watch(net, optimizer, track_interval=50)
while not os.path.exists("stop"):
    optimizer.zero_grad()
    net(torch.randint(0, 50, (16,))).square().mean().backward()
    optimizer.step()
    time.sleep(0.002)
"""


class Training:
    """A training in a process of its own, and its run as a reader sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "train.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "train.py"],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        self.wait_until(lambda: any(self.root.glob(".gradtracer/runs/*/connection.json")))
        self.wait_until(lambda: bool(self.run.layers))

    @property
    def run(self) -> Run:
        book = RunBook([self.root])
        book.refresh()
        run = book.runs[0]
        run.catch_up()
        return run

    def interval(self, layer: str = "item_emb") -> object:
        return self.run.layers[layer].watched.settings["track_interval"]

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert self.process.poll() is None, "the training ended"
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.05)

    def stop(self) -> None:
        (self.root / "stop").touch()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    training = Training(tmp_path_factory.mktemp("live"))
    yield training
    training.process.kill()
    training.process.communicate()


def test_the_command_line_changes_the_only_training_and_says_so(
    training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(training.root)
    assert main(["control", "--track-interval", "7", "--reason", "a test"]) == 0
    assert "accepted: everything is followed at 1 in 7 steps" in capsys.readouterr().out
    training.wait_until(lambda: training.interval() == 7)
    assert training.interval("out") == 7
    change = training.run.controls[-1].body
    assert (change.sender, change.reason, change.value) == ("command line", "a test", 7)
    assert main(["control", training.run.id[:8], "--report", "--output-format", "json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["status"] == "accepted"


def test_a_refusal_is_told_with_what_there_is(
    training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(training.root)
    assert main(["control", "--track-interval", "3", "--layer", "user_emb"]) == 1
    told = capsys.readouterr().out
    assert "refused: no tracker of this run is named 'user_emb'" in told
    assert "item_emb" in told
    assert training.interval() != 3


def test_auto_fix_is_turned_on_and_off_in_the_training_itself(
    training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(training.root)

    def acts() -> object:
        return training.run.layers["item_emb"].watched.settings["auto_fix"]

    assert acts() is False
    assert main(["control", "--auto-fix", "on", "--layer", "item_emb"]) == 0
    assert "auto-fix is on for item_emb from the next step on" in capsys.readouterr().out
    training.wait_until(lambda: acts() is True)
    assert main(["control", "--auto-fix", "on"]) == 0
    assert "auto-fix is on already for item_emb" in capsys.readouterr().out
    assert main(["control", "--auto-fix", "off", "--reason", "seen enough"]) == 0
    training.wait_until(lambda: acts() is False)
    changes = [each.body for each in training.run.controls if each.body.setting == "auto_fix"]
    assert [(each.value, each.layers) for each in changes] == [
        (True, ["item_emb"]),
        (False, ["item_emb"]),
    ]
    assert changes[-1].reason == "seen enough"
    lines = (training.root / ".gradtracer" / "audit.jsonl").read_bytes().splitlines()
    audited = [each for each in map(json.loads, lines) if each["type"] == "control"]
    switched = [each["value"] for each in audited if each["setting"] == "auto_fix"]
    assert switched == [True, False]
    assert main(["control", "--auto-fix", "on", "--layer", "out"]) == 1


def test_an_agent_is_first_told_what_it_would_ask(training: Training) -> None:
    desk = Desk([training.root])
    before = training.interval()
    told = desk.control_run(None, None, 9, "item_emb", "", confirm=False)
    assert told["dry_run"] and told["would_ask"]["interval"] == 9
    assert training.interval() == before
    done = desk.control_run(None, None, 9, "item_emb", "it asked", confirm=True)
    assert done["status"] == "accepted"
    training.wait_until(lambda: training.interval() == 9)
    assert training.run.controls[-1].body.sender == "agent"
    with pytest.raises(UsageError, match="got both"):
        desk.control_run(None, True, 9, "", "", confirm=True)


async def test_an_editor_changes_it_by_a_command(training: Training) -> None:
    editor = Editor()
    await editor.start(training.root)
    editor.open(training.root / "train.py")
    run = training.run.id
    answer = await editor.command("gradtracer.setTrackInterval", run, 11)
    deadline = time.monotonic() + PATIENCE
    while answer["reason"] == "the server has only begun":
        assert time.monotonic() < deadline
        answer = await editor.command("gradtracer.setTrackInterval", run, 11)
    assert answer["accepted"], answer
    training.wait_until(lambda: training.interval() == 11)
    for wrong in ((run, 0), (run, "3"), (run, True), (run,), ()):
        refused = await editor.command("gradtracer.setTrackInterval", *wrong)
        assert not refused["accepted"]
        assert "expected a number from 1" in refused["reason"]
    refused = await editor.command("gradtracer.setAutoFix", run, "yes")
    assert "expected true or false" in refused["reason"]
    refused = await editor.command("gradtracer.setAutoFix", "no-such-run", True)
    assert "expected the id of a run" in refused["reason"]
    assert await editor.quit() == 0


def test_another_key_is_told_from_silence(training: Training) -> None:
    run = training.run
    path = run.folder / "connection.json"
    content = path.read_bytes()
    told = json.loads(content)
    stranger, _ = zmq.curve_keypair()
    try:
        path.write_text(json.dumps(told | {"control_key": stranger.decode()}))
        with pytest.raises(ControlFailed, match="does not take the key"):
            ask(run, request_of(run, ReportNow(), sender="test"), seconds=60)
        path.write_text(json.dumps(told | {"control_key": told["server_key"]}))
        with pytest.raises(ControlFailed, match="does not take the key"):
            ask(run, request_of(run, ReportNow(), sender="test"), seconds=60)
        path.write_text(json.dumps(told | {"control": "tcp://127.0.0.1:9"}))
        with pytest.raises(ControlFailed, match="nothing listens"):
            ask(run, request_of(run, ReportNow(), sender="test"), seconds=1)
        older = {name: value for name, value in told.items() if not name.startswith("control")}
        path.write_text(json.dumps(older))
        assert decode_connection(path.read_bytes()).control == ""
        with pytest.raises(ControlFailed, match="takes no requests"):
            ask(run, request_of(run, ReportNow(), sender="test"))
        path.write_text(json.dumps(told | {"control": "tcp://10.0.0.7:5555"}))
        with pytest.raises(ControlFailed, match="no connection file that can be used"):
            ask(run, request_of(run, ReportNow(), sender="test"))
    finally:
        path.write_bytes(content)


def test_a_process_that_stands_still_is_told_from_one_that_is_gone(training: Training) -> None:
    run = training.run
    request = request_of(run, SetTrackInterval(interval=13), sender="test")
    training.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ControlFailed, match=r"did not answer within|nothing listens"):
            ask(run, request, seconds=1)
    finally:
        training.process.send_signal(signal.SIGCONT)
    assert ask(run, request, seconds=60).status == "accepted"
    training.process.kill()
    training.process.wait()
    with pytest.raises(ControlFailed, match="ended without a goodbye"):
        ask(run, request_of(run, ReportNow(), sender="test"))
    book = RunBook([training.root])
    book.refresh()
    with pytest.raises(UsageError, match="no training is running here"):
        live_run(book.runs, None)
