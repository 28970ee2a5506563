"""Fixtures of the commands' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from run_factory import RunFactory

from gradtracer_server.__main__ import main


class Answer(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def command(
    project: RunFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `gradtracer ARGUMENTS` in the project's folder."""
    monkeypatch.chdir(project.root)

    def run(*arguments: str) -> Answer:
        try:
            status = main(arguments)
        except SystemExit as leaving:
            assert isinstance(leaving.code, int)
            status = leaving.code
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return run
