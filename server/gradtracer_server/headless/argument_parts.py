"""What several commands take alike: paths, formats, selections, and help with examples."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

Commands = Any  # argparse keeps the class of its subparsers private


def command(
    commands: Commands, name: str, help_: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A command with its description, and examples that stand as they are written."""
    return commands.add_parser(
        name,
        help=help_,
        description=textwrap.fill(description, 78),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def paths(parser: argparse.ArgumentParser, what: str) -> None:
    """Where to look, by place."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help=f"{what} (default: this folder)"
    )


def folder(parser: argparse.ArgumentParser) -> None:
    """Where to look, by name, for commands whose places take runs."""
    parser.add_argument(
        "--in",
        dest="paths",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="folder to look around (default: this folder)",
    )


def output_format(parser: Any, *more: str) -> None:
    """Text, JSON, and what else the command can print."""
    parser.add_argument(
        "--output-format", choices=("text", "json", *more), default="text", help="default: text"
    )


def selection(parser: argparse.ArgumentParser) -> None:
    """Which findings are meant."""
    what = "types, beginnings of types, or ids"
    for name, help_ in (("--select", f"only these {what}"), ("--ignore", f"none of these {what}")):
        parser.add_argument(name, action="append", default=[], metavar="WHAT", help=help_)
