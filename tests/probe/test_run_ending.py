"""A run says how it ended, whatever ended it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from subprocess import Popen

import pytest

from gradtracer_schemas import RunEndedEvent, RunStartedEvent

Terminate = Callable[[Popen[str], signal.Signals], int]

TRAIN_FOREVER = """
run = gradtracer.watch(net, optimizer=optimizer, report_seconds=0.1)
while True:
    train(net, optimizer, 10)
"""


def test_a_finished_script_leaves_a_whole_journal_and_no_connection_file(script):
    done = script.run("run = gradtracer.watch(net, optimizer=optimizer)\ntrain(net, optimizer, 20)")
    assert done.returncode == 0, done.stderr
    events = script.events()
    assert isinstance(events[0], RunStartedEvent)
    assert isinstance(events[-1], RunEndedEvent)
    assert events[-1].body.outcome == "finished"
    assert events[-1].step == 20
    assert [event.seq for event in events] == list(range(len(events)))
    assert not (script.run_folders[0] / "connection.json").exists()


def test_a_process_that_ends_waits_for_a_thread_that_ends_the_run(script):
    """As the reporting thread has one do, where a booster's call has ended without a word."""
    done = script.run(
        "import threading, time\n"
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 20)\n"
        "threading.Thread(target=run.finish, daemon=True).start()\n"
        "while run.outcome is None:\n"
        "    time.sleep(0)\n"
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(script.events()[-1], RunEndedEvent)


def test_a_failed_script_names_the_exception_and_its_line(script):
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 3)\n"
        "raise ValueError('bad batch')  # here\n"
    )
    assert done.returncode == 1
    assert "ValueError: bad batch" in done.stderr
    ended = script.events()[-1].body
    assert ended.outcome == "failed"
    assert ended.failure.exception == "ValueError"
    assert ended.failure.message == "bad batch"
    assert ended.failure.file == str(script.path)
    assert ended.failure.line == script.line_of("# here")
    [frame] = ended.failure.site.frames
    assert frame.text == "raise ValueError('bad batch')"


def test_an_error_inside_torch_is_placed_on_the_users_line_and_comes_through_unchanged(script):
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 3)\n"
        "net(torch.tensor([50]))  # out of range\n"
    )
    plain = script.events()[-1].body
    assert "IndexError: index out of range in self" in done.stderr
    assert plain.failure.exception == "IndexError"
    # The innermost line of the user's own code is in forward.
    assert plain.failure.line == script.line_of("return self.item_emb(ids)")
    told = [frame.expression or frame.text for frame in plain.failure.site.frames]
    assert told == ["self.item_emb(ids)", "net(torch.tensor([50]))"]


@pytest.mark.parametrize(
    ("number", "outcome", "reason"),
    [
        (signal.SIGTERM, "interrupted", "SIGTERM"),
        (signal.SIGINT, "interrupted", "KeyboardInterrupt"),
    ],
)
def test_a_signal_ends_the_run_as_interrupted(
    script, terminate: Terminate, number: signal.Signals, outcome: str, reason: str
):
    process = script.start(TRAIN_FOREVER)
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    code = terminate(process, number)
    assert code == -number
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == (outcome, reason)


def test_a_killed_process_leaves_a_readable_journal_without_a_goodbye(script, terminate: Terminate):
    process = script.start(TRAIN_FOREVER)
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    assert terminate(process, signal.SIGKILL) == -signal.SIGKILL
    events = script.events()
    assert not isinstance(events[-1], RunEndedEvent)
    assert all(b.seq == a.seq + 1 for a, b in pairwise(events))
    assert (script.run_folders[0] / "connection.json").exists()


def test_a_handler_of_the_users_own_stays_in_charge_of_sigterm(script, terminate: Terminate):
    process = script.start(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" + TRAIN_FOREVER
    )
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    assert terminate(process, signal.SIGTERM) == 7
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("failed", "sys.exit(7)")


def test_sigterm_ends_a_process_that_stands_in_native_code(script, terminate: Terminate):
    process = script.start(
        "import ctypes\n"
        "gradtracer.watch(net, optimizer=optimizer, report_seconds=0.1)\n"
        "train(net, optimizer, 10)\n"
        "lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(256)\n"
        "lock(mutex)\n"
        "lock(mutex)  # for good, as in a collective that another rank never joins\n"
    )
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    assert terminate(process, signal.SIGTERM) == -signal.SIGTERM
    ended = script.events()[-1]
    assert (ended.body.outcome, ended.body.reason) == ("interrupted", "SIGTERM")
    assert ended.step == 10


def test_a_handler_installed_after_ours_is_in_charge_and_may_go_on(script, terminate: Terminate):
    process = script.start(
        "import signal, time\n"
        "gradtracer.watch(net, optimizer=optimizer, report_seconds=0.1)\n"
        "came = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))\n"
        "while not came or time.monotonic() < came[0] + 4:\n"
        "    train(net, optimizer, 10)\n"
    )
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    assert terminate(process, signal.SIGTERM) == 0
    assert script.events()[-1].body.outcome == "finished"


def test_sigterm_is_handled_only_while_a_run_is_open_and_never_in_a_forked_child(script):
    done = script.run(
        "import os, signal\n"
        "def told(): print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)\n"
        "def child(): os.fork() == 0 and (told(), os._exit(0)) or os.wait()\n"
        "for _ in range(2):\n"
        "    with gradtracer.watch(net, optimizer=optimizer):\n"
        "        told(); child()\n"
        "    told()\n"
        "print(signal.set_wakeup_fd(-1))\n"
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["False", "True", "True"] * 2 + ["-1"]


def test_the_wakeup_descriptor_of_an_event_loop_stays(script):
    done = script.run(
        "import os, signal\n"
        "reader, writer = os.pipe(); os.set_blocking(writer, False)\n"
        "signal.set_wakeup_fd(writer)\n"
        "with gradtracer.watch(net, optimizer=optimizer):\n"
        "    train(net, optimizer, 1)\n"
        "print(signal.set_wakeup_fd(-1) == writer)\n"
        "with gradtracer.watch(net, optimizer=optimizer):\n"
        "    signal.set_wakeup_fd(writer)\n"
        "print(signal.set_wakeup_fd(-1) == writer)\n"
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("status", ["3", "'no such file'"])
def test_leaving_with_a_status_of_failure_is_a_failure(script, status: str):
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 3)\n"
        f"sys.exit({status})\n"
    )
    assert done.returncode == (3 if status == "3" else 1)
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("failed", f"sys.exit({status})")


@pytest.mark.parametrize(
    "leave",
    [
        "sys.exit(0)",
        "sys.exit()",
        "try:\n    sys.exit(2)\nexcept SystemExit:\n    train(net, optimizer, 1)",
    ],
)
def test_leaving_well_or_not_leaving_after_all_is_no_failure(script, leave: str):
    done = script.run(f"gradtracer.watch(net, optimizer=optimizer)\n{leave}\n")
    assert done.returncode == 0, done.stderr
    assert script.events()[-1].body.outcome == "finished"


def test_a_run_used_as_a_context_ends_with_its_block(script):
    done = script.run(
        "with gradtracer.watch(net, optimizer=optimizer) as run:\n"
        "    train(net, optimizer, 2)\n"
        "print(run.outcome)\n"
        "train(net, optimizer, 5)\n"
    )
    assert done.stdout == "finished\n"
    assert script.events()[-1].step == 2


def test_watching_again_on_the_same_line_begins_a_new_run_and_on_another_line_joins(script):
    done = script.run(
        "for _ in range(2):\n"
        "    run = gradtracer.watch(net, optimizer=optimizer)\n"
        "    train(net, optimizer, 2)\n"
        "other = gradtracer.watch(Net())\n"
        "print(other is run)\n"
    )
    assert done.stdout == "True\n", done.stderr
    assert len(script.run_folders) == 2
