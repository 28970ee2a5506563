"""Which runs the paths of a command mean. Imports nothing that reads source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gradtracer_server.discovery import HOME, MAX_DEPTH, searched
from gradtracer_server.exceptions import UsageError
from gradtracer_server.runbook import RunBook


def folders_of(paths: Sequence[Path]) -> list[Path]:
    """The folders of paths; without any, the current folder.

    Raises:
        UsageError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"expected a file or a folder, got {str(path)!r}: there is none")
    here = [path if path.is_dir() else path.parent for path in paths] or [Path()]
    return list(dict.fromkeys(folder.resolve() for folder in here))


def run_book(paths: Sequence[Path]) -> RunBook:
    """The runs around paths; without any, around the current folder.

    Raises:
        UsageError: a path does not exist.
    """
    book = RunBook(folders_of(paths))
    book.refresh()
    return book


def no_runs(folders: Iterable[Path]) -> str:
    """Why there is nothing to say, and how to change that."""
    looked = dict.fromkeys(str(each) for folder in folders for each in searched(folder))
    return "\n".join(
        [
            f"No runs found. Looked for {HOME}/runs in",
            *(f"    {folder}" for folder in looked),
            f"and up to {MAX_DEPTH} levels below. To make a run, start a training script by",
            "    python -m gradtracer train.py",
            "or add this to it and start it as ever",
            "    run = gradtracer.watch(model, optimizer=optimizer)",
            "Or name the folder of an earlier one: gradtracer check PATH",
        ]
    )
