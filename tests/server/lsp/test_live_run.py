"""What a live run says arrives: by its socket at once, by its journal always."""

from __future__ import annotations

import json
import threading

from lsp.editor import Editor
from run_factory import RunFactory, RunWriter, of_protocol_2, statement_of

from gradtracer_schemas import TOPIC, ProbeFault


async def settle(editor: Editor, project: RunFactory) -> None:
    """Wait until the server has answered about the script once."""
    editor.open(project.script)
    await editor.hover(project.script, "self.item_emb")


async def test_a_diagnosis_arrives_over_the_socket_alone(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    await settle(editor, project)
    # A fault now and then until the subscription stands, then a diagnosis that no journal has.
    done = threading.Event()
    found = live_run.diagnosis("ZOMBIE_EMBEDDINGS", "item_emb")

    def speak() -> None:
        from gradtracer_schemas import DiagnosisRaisedEvent, DiagnosisUpdatedEvent

        live_run.emit(found, cls=DiagnosisRaisedEvent, journal=False)
        while not done.wait(0.02):
            live_run.emit(found, cls=DiagnosisUpdatedEvent, journal=False)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    finally:
        done.set()
        speaker.join()


async def test_a_diagnosis_that_only_the_journal_has_arrives_too(
    editor: Editor, project: RunFactory
) -> None:
    run = project.start()
    run.watch_layers()
    await editor.start(project.root)
    await settle(editor, project)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_a_gap_on_the_socket_is_filled_from_the_journal(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root, options={"poll_seconds": 60})
    await settle(editor, project)
    socket, live_run.socket = live_run.socket, None
    raised = live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    live_run.socket = socket
    done = threading.Event()

    def speak() -> None:
        while not done.wait(0.02):
            live_run.emit(ProbeFault(layer="", message="a beat"))

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    finally:
        done.set()
        speaker.join()
    assert found.data == {"id": raised.id, "ids": [raised.id]}


async def test_a_cleared_diagnosis_goes(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    raised = live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    live_run.clear(raised)
    await editor.codes(project.script)


async def test_a_run_that_begins_later_is_found(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root)
    await settle(editor, project)
    project.finished()
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_a_newer_run_without_the_finding_clears_it(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    await editor.codes(project.script)


async def test_frames_and_lines_that_are_none_of_ours_cost_nothing(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    await settle(editor, project)
    socket = live_run.socket
    assert socket is not None
    for frames in (
        [b"", b""],
        [TOPIC],
        [TOPIC, b"{"],
        [TOPIC, b'{"kind":"progress","protocol":"9.0","seq":1}'],
        [TOPIC + b"x", b"{}"],
        [TOPIC, b"\xff" * 100_000],
    ):
        socket.send_multipart(frames)
    live_run.write(b'not json\n{"kind":"hologram","protocol":"1.0","seq":3}\n\xff\xfe\n')
    live_run.seq = 4
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_a_burst_of_five_thousand_events_loses_none(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    await settle(editor, project)
    for step in range(5000):
        live_run.observe("user_emb", step=step, gini=step / 10_000)
    live_run.observe("item_emb", step=5000, coverage=0.25)
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", step=5000)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert "| Coverage | 25 % |" in await editor.hover_text(project.script, "self.item_emb")
    assert "Figures of step 4,999." in await editor.hover_text(project.script, "self.user_emb")


async def test_a_socket_elsewhere_is_not_followed_and_said_once(
    editor: Editor, project: RunFactory, capfd
) -> None:
    run = project.start()
    run.watch_layers()
    elsewhere = {
        "protocol": "1.0",
        "run": run.id,
        "pid": 1,
        "host": "h",
        "events": "tcp://192.0.2.1:5555",
        "server_key": "a" * 40,
    }
    (run.folder / "connection.json").write_text(json.dumps(elsewhere), encoding="utf-8")
    await editor.start(project.root)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    for number in range(3):
        run.observe("user_emb", step=number)
        await editor.hover(project.script, "self.item_emb")
    await editor.quit()
    editor.client._server = None
    assert capfd.readouterr().err.count("192.0.2.1") == 1


async def test_a_run_that_cannot_be_read_is_named_in_the_log_once(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    unreadable = project.start()
    unreadable.rewrite_start(of_protocol_2)
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    editor.replace(project.script, statement_of("item_emb"), "self.item_emb = None")
    await editor.codes(project.script)
    messages = [each.message for each in editor.client.log_messages]
    [told] = [message for message in messages if unreadable.id in message]
    assert told.startswith(f"run {unreadable.id}: written by protocol 2.0: update gradtracer")
    assert editor.client.messages == []
