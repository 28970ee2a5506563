"""Whether a process lives: real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradtracer_server.liveness import process_alive, started_stamp

linux_only = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def test_this_process_lives() -> None:
    assert process_alive(os.getpid(), started_stamp(os.getpid()))


@linux_only
def test_reused_id_is_another_process() -> None:
    assert process_alive(os.getpid(), "12345") is False


@linux_only
def test_name_with_brackets_and_spaces_hides_no_field(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            stamp = started_stamp(process.pid)
            assert stamp.isdigit()
            assert process_alive(process.pid, stamp)
        finally:
            process.kill()


@linux_only
def test_dead_process_that_nobody_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert process_alive(process.pid) is False
    finally:
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**80])
def test_ids_that_no_process_has_are_dead(pid: int) -> None:
    assert process_alive(pid) is False
