"""What a test of ranks starts ends with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import launching
from patience import wait_until

STANDS_STILL = """
(open(f"started_{rank}", "w")).write(str(os.getpid()))
while True:
    time.sleep(1)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("launcher", ["torchrun", "run"])
def test_ranks_that_stand_still_do_not_outlive_the_test_that_gave_them_up(
    ranks, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    folder: Path = ranks.folder

    def started() -> list[int]:
        texts = [each.read_text() for each in folder.glob("started_*")]
        return [int(text) for text in texts if text]

    def give_up(self: Any, timeout: float | None = None, **_: Any) -> Any:
        monkeypatch.undo()
        wait_until(lambda: len(started()) == 2)
        raise subprocess.TimeoutExpired(self.args, 0)

    monkeypatch.setattr(launching.subprocess.Popen, "communicate", give_up)
    with pytest.raises(subprocess.TimeoutExpired):
        getattr(ranks, launcher)(STANDS_STILL, 2)
    assert len(started()) == 2
    wait_until(lambda: not any(map(is_alive, started())))
