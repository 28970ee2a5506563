"""The command line: what each command of `gradtracer` takes. Imports nothing of ours."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_EXAMPLES = """\
examples:
  gradtracer check                      what the last runs found, as path:line:col
  gradtracer check --diff               the proposed fixes, as a patch
  gradtracer check --output-format json src/model.py
  gradtracer fix                        make the safe ones of them
  gradtracer rule ZOMBIE_EMBEDDINGS     what a diagnosis means and what helps
  gradtracer runs                       the runs of this folder
  gradtracer serve                      the language server, for an editor's settings
  gradtracer mcp                        the same for an AI agent's settings

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
    _fix(commands)
    _mcp(commands)
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
    serve = _command(
        commands,
        "serve",
        "the language server, on standard input and output",
        "Serve one editor. It starts the server itself: see the README.",
        """\
  gradtracer serve                       what an editor's settings name
  gradtracer serve --tcp 127.0.0.1:2087  for a client that connects""",
    )
    serve.add_argument(
        "--tcp",
        type=tcp_address,
        metavar="HOST:PORT",
        help="listen on a TCP address instead, e.g. 127.0.0.1:2087; port 0 takes a free one",
    )


def _check(commands: _Commands) -> None:
    check = _command(
        commands,
        "check",
        "print what the last runs found, by file and line",
        "Print the diagnoses that hold for the source as it is now. "
        "Exit status: 0 none, 1 some, 2 the command failed.",
        """\
  gradtracer check                                     this folder and its project
  gradtracer check src/model.py --show-fixes
  gradtracer check --diff | git apply                  make the first fix of each finding
  gradtracer check --select ZOMBIE,DEAD_EMBEDDINGS     types, or the beginning of a type
  gradtracer check --output-format sarif > gradtracer.sarif
  gradtracer check --output-format markdown >> $GITHUB_STEP_SUMMARY
  gradtracer check --baseline known.json --write-baseline
  gradtracer check --baseline known.json               fail on new findings alone
  gradtracer check --since-run previous                what the run before did not have""",
    )
    _paths(check, "files and folders to report on")
    form = check.add_mutually_exclusive_group()
    _output_format(form, "json-lines", "sarif", "github", "markdown")
    form.add_argument(
        "--diff", action="store_true", help="print the first fix of each finding as a patch"
    )
    check.add_argument("--show-fixes", action="store_true", help="list the fixes of each finding")
    _selection(check)
    check.add_argument(
        "--since-run", metavar="RUN", help="report only what that run did not have; or `previous`"
    )
    check.add_argument(
        "--baseline", type=Path, metavar="FILE", help="report only what does not stand in FILE"
    )
    check.add_argument(
        "--write-baseline", action="store_true", help="write what is found to the baseline FILE"
    )


def _fix(commands: _Commands) -> None:
    fix = _command(
        commands,
        "fix",
        "make the proposed edits in the source",
        "Edit the source: of each finding the first fix that can be made. Fixes that would make "
        "the model another one, so that saved checkpoints no longer load, need --unsafe. "
        "Exit status: 0 nothing is left, 1 findings are left or edits are only shown, "
        "2 the command failed and nothing was edited.",
        """\
  gradtracer fix --diff                          show the edits
  gradtracer fix                                 make the safe ones
  gradtracer fix --select REPRESENTATION_COLLAPSE --unsafe
  gradtracer fix --fix reduce-weight-decay       this fix and no other""",
    )
    _paths(fix, "files and folders whose findings to fix")
    fix.add_argument("--diff", action="store_true", help="print the edits as a patch instead")
    _selection(fix)
    fix.add_argument(
        "--fix", dest="only", metavar="NAME", help="make this fix alone, e.g. enable-auto-fix"
    )
    fix.add_argument("--unsafe", action="store_true", help="also fixes that change the model")


def _mcp(commands: _Commands) -> None:
    mcp = _command(
        commands,
        "mcp",
        "a server for AI agents, on standard input and output",
        "Serve one client of the Model Context Protocol: findings, explanations and fixes of the "
        "runs around the paths, by the same ids as editor and command line.",
        """\
  gradtracer mcp                         what an agent's settings name
  gradtracer mcp ~/projects/recommender

  {"mcpServers": {"gradtracer": {"command": "gradtracer", "args": ["mcp", "/path/to/project"]}}}""",
    )
    _paths(mcp, "folders to serve")


def _rule(commands: _Commands) -> None:
    rule = _command(
        commands,
        "rule",
        "explain a type of diagnosis",
        "Print what a type of diagnosis measures, why it matters and what helps.",
        """\
  gradtracer rule                        all types
  gradtracer rule ZOMBIE_EMBEDDINGS""",
    )
    rule.add_argument(
        "type", nargs="?", metavar="TYPE", help="e.g. ZOMBIE_EMBEDDINGS; without it, all types"
    )


def _runs(commands: _Commands) -> None:
    runs = _command(
        commands,
        "runs",
        "list the runs",
        "List the runs, the newest first.",
        """\
  gradtracer runs
  gradtracer runs ../project --output-format json""",
    )
    _paths(runs, "folders to look around")
    _output_format(runs)


def _paths(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help=f"{what} (default: this folder)"
    )


def _output_format(parser: Any, *more: str) -> None:
    parser.add_argument(
        "--output-format", choices=("text", "json", *more), default="text", help="default: text"
    )


def _selection(parser: argparse.ArgumentParser) -> None:
    what = "types, beginnings of types, or ids"
    for name, help_ in (("--select", f"only these {what}"), ("--ignore", f"none of these {what}")):
        parser.add_argument(name, action="append", default=[], metavar="WHAT", help=help_)


def _command(
    commands: _Commands, name: str, help_: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A command with its description, and examples that stand as they are written."""
    return commands.add_parser(
        name,
        help=help_,
        description=textwrap.fill(description, 78),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
