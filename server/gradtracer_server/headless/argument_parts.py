"""What several commands take alike: paths, formats, selections, and help with examples."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any, NoReturn

Commands = Any  # argparse keeps the class of its subparsers private


class Parser(argparse.ArgumentParser):
    """Names what was meant by a word that is none of those to choose from."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2, the usage, and what is wrong."""
        from gradtracer_server.headless.nearest import nearest

        if wrong := re.search(r"invalid choice: '(.*?)'( \(choose from (.*)\))", message):
            given, listed, known = wrong.groups()
            near = nearest(given, re.findall(r"[\w-]+", known))
            if near:
                message = message.replace(listed, f"; did you mean {' or '.join(near)}?")
        super().error(message)


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
