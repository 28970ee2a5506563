"""The command line of `python -m gradtracer`: our options, then the script and its own."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from gradtracer.exceptions import UsageError

USAGE = """\
usage: python -m gradtracer [options] script.py [arguments of the script]
       python -m gradtracer [options] -m package.module [arguments of the module]

Runs a PyTorch training script as `python` would, and observes what it trains. Observation begins
when an optimizer first steps; a script that calls gradtracer.watch itself is left to do so.

options, which stand before the script:
  --track-interval N  follow gradients at 1 in N steps, in bursts (default 10); look-ups are
                      counted at every step
  --auto-fix          shrink the updates of rows named by ZOMBIE_EMBEDDINGS
  -m MODULE           run a module, as `python -m MODULE`
  -h, --help          show this text

Other settings stand under [tool.gradtracer] in pyproject.toml or in GRADTRACER_<NAME>.
Only this process is observed, not those it starts: torchrun starts it in each of its own.

examples:
  python -m gradtracer train.py --epochs 3
  python -m gradtracer --track-interval 100 -m recommender.train --lr 0.01
  torchrun --nproc-per-node 2 -m gradtracer train.py
"""

_OPTIONS = ("--track-interval", "--auto-fix", "--help", "-h", "-m")


class Command(NamedTuple):
    """What to run, and how to observe it."""

    target: str
    """Path of a script, or name of a module."""
    is_module: bool
    arguments: list[str]
    """Those of the script."""
    settings: dict[str, object]
    """As `gradtracer.watch` takes them."""


def parse(words: list[str]) -> Command | None:
    """Read the words behind `python -m gradtracer`; None when help was asked for.

    Raises:
        UsageError: an unknown option, an option without its value, or nothing to run.
    """
    settings: dict[str, object] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            return None
        if word == "--auto-fix":
            settings["auto_fix"] = True
        elif option == "--track-interval":
            settings["track_interval"] = _interval(value if equals else _next(left, word, "100"))
        elif word == "-m":
            return Command(_next(left, word, "recommender.train"), True, left, settings)
        elif word.startswith("-"):
            raise UsageError(_unknown(word))
        else:
            return Command(word, False, left, settings)
    raise UsageError("expected a script to run, e.g. python -m gradtracer train.py --epochs 3")


def _next(left: list[str], option: str, example: str) -> str:
    if not left:
        raise UsageError(f"{option} expects a value, e.g. {option} {example}")
    return left.pop(0)


def _interval(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise UsageError(
            f"--track-interval expects a whole number from 1, got {text!r}; "
            "pass e.g. --track-interval 100"
        )
    return int(text)


def _unknown(option: str) -> str:
    near = difflib.get_close_matches(option, _OPTIONS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown option {option}; {hint}Options of the script stand behind its name"
