"""The command line: what each command of `gradtracer` takes. Imports nothing of ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_EXAMPLES = """\
examples:
  gradtracer check                      what the last runs found, as path:line:col
  gradtracer check --diff               the proposed fixes, as a patch
  gradtracer check --output-format json src/model.py
  gradtracer rule ZOMBIE_EMBEDDINGS     what a diagnosis means and what helps
  gradtracer runs                       the runs of this folder
  gradtracer serve                      the language server, for an editor's settings

a script is watched with one line: run = gradtracer.watch(model, optimizer=optimizer)
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments as a namespace whose `command` names the command; exits 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="gradtracer",
        description="Training dynamics on the line of code that defines the layer.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _serve(commands)
    _check(commands)
    _rule(commands)
    _runs(commands)
    return parser.parse_args(arguments)


def tcp_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT` as a pair; an empty host is this machine alone."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT such as 127.0.0.1:2087, got {text!r}")
    if ":" in host and not bracketed:
        raise argparse.ArgumentTypeError(f"expected [{host}]:{port}, got {text!r}")
    return (host[1:-1] if bracketed else host) or "127.0.0.1", int(port)


_Commands = Any  # argparse keeps the class of its subparsers private


def _serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="the language server, on standard input and output",
        description="Serve one editor. It starts the server itself: see the README.",
    )
    serve.add_argument(
        "--tcp",
        type=tcp_address,
        metavar="HOST:PORT",
        help="listen on a TCP address instead, e.g. 127.0.0.1:2087; port 0 takes a free one",
    )


def _check(commands: _Commands) -> None:
    check = commands.add_parser(
        "check",
        help="print what the last runs found, by file and line",
        description=(
            "Print the diagnoses that hold for the source as it is now. "
            "Exit status: 0 none, 1 some, 2 the command failed."
        ),
    )
    _paths(check, "files and folders to report on")
    form = check.add_mutually_exclusive_group()
    _output_format(form)
    form.add_argument(
        "--diff", action="store_true", help="print the first fix of each finding as a patch"
    )
    check.add_argument("--show-fixes", action="store_true", help="list the fixes of each finding")


def _rule(commands: _Commands) -> None:
    rule = commands.add_parser(
        "rule",
        help="explain a type of diagnosis",
        description="Print what a type of diagnosis measures, why it matters and what helps.",
    )
    rule.add_argument(
        "type", nargs="?", metavar="TYPE", help="e.g. ZOMBIE_EMBEDDINGS; without it, all types"
    )


def _runs(commands: _Commands) -> None:
    runs = commands.add_parser(
        "runs", help="list the runs", description="List the runs, the newest first."
    )
    _paths(runs, "folders to look around")
    _output_format(runs)


def _paths(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help=f"{what} (default: this folder)"
    )


def _output_format(parser: Any) -> None:
    parser.add_argument(
        "--output-format", choices=("text", "json"), default="text", help="default: text"
    )


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("gradtracer")
        except PackageNotFoundError:
            number = "of unknown version"
        print(f"gradtracer {number}")
        parser.exit()
