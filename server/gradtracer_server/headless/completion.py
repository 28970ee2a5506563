"""`gradtracer completion SHELL`: the shell's own script that completes commands and options."""

from __future__ import annotations

import argparse

import shtab

from gradtracer_server.headless.output import say


def completion(shell: str, parser: argparse.ArgumentParser) -> int:
    """Print the script; the exit status."""
    say(shtab.complete(parser, shell).rstrip("\n"))
    return 0
