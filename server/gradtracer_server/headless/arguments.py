"""The command line: what each command of `gradtracer` takes. Loads none of the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from gradtracer_server.headless.argument_parts import (
    Commands,
    Parser,
    command,
    output_format,
    paths,
    selection,
)
from gradtracer_server.headless.compress_arguments import add_compress
from gradtracer_server.headless.run_arguments import (
    add_audit,
    add_control,
    add_report,
    add_runs,
    add_watch,
    with_action,
)

_EXAMPLES = """\
examples:
  gradtracer check                      what the last runs found, as path:line:col
  gradtracer check --diff               the proposed fixes, as a patch
  gradtracer check --output-format json src/model.py
  gradtracer fix                        make the safe ones of them
  gradtracer rule ZOMBIE_EMBEDDINGS     what a diagnosis means and what helps
  gradtracer runs compare               the last run with the one before it
  gradtracer watch                      trainings as they go on
  gradtracer report                     the last run as one HTML file
  gradtracer control --auto-fix on      change the training that runs now
  gradtracer audit                      what auto-fix did, and what was measured of it
  gradtracer compress model.pt --recipe gradtracer_recipe.json --model train:build
  gradtracer serve                      the language server, for an editor's settings
  gradtracer mcp                        the same for an AI agent's settings

a script is watched with one line: run = gradtracer.watch(model, optimizer=optimizer)
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments as a namespace whose `command` names the command; exits 2 on a wrong one."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    if not given:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return parser.parse_args(with_action(given))


def build_parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = Parser(
        prog="gradtracer",
        description="Training dynamics on the line of code that defines the layer.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _check(commands)
    _fix(commands)
    _rule(commands)
    add_runs(commands)
    add_watch(commands)
    add_report(commands)
    add_audit(commands)
    add_control(commands)
    add_compress(commands)
    _serve(commands)
    _mcp(commands)
    _completion(commands)
    return parser


def tcp_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT` as a pair; an empty host is this machine alone."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT such as 127.0.0.1:2087, got {text!r}")
    if ":" in host and not bracketed:
        raise argparse.ArgumentTypeError(f"expected [{host}]:{port}, got {text!r}")
    return (host[1:-1] if bracketed else host) or "127.0.0.1", int(port)


def _serve(commands: Commands) -> None:
    serve = command(
        commands,
        "serve",
        "the language server, on standard input and output",
        "Serve one editor. It starts the server itself: see the README.",
        """\
  gradtracer serve                        what an editor's settings name
  gradtracer serve --tcp 127.0.0.1:2087   for a client that connects""",
    )
    serve.add_argument(
        "--tcp",
        type=tcp_address,
        metavar="HOST:PORT",
        help="listen on a TCP address instead, e.g. 127.0.0.1:2087; port 0 takes a free one",
    )


def _check(commands: Commands) -> None:
    check = command(
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
    paths(check, "files and folders to report on")
    form = check.add_mutually_exclusive_group()
    output_format(form, "json-lines", "sarif", "github", "markdown")
    form.add_argument(
        "--diff", action="store_true", help="print the first fix of each finding as a patch"
    )
    check.add_argument("--show-fixes", action="store_true", help="list the fixes of each finding")
    selection(check)
    check.add_argument(
        "--since-run", metavar="RUN", help="report only what that run did not have; or `previous`"
    )
    check.add_argument(
        "--baseline", type=Path, metavar="FILE", help="report only what does not stand in FILE"
    )
    check.add_argument(
        "--write-baseline", action="store_true", help="write what is found to the baseline FILE"
    )


def _fix(commands: Commands) -> None:
    fix = command(
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
    paths(fix, "files and folders whose findings to fix")
    fix.add_argument("--diff", action="store_true", help="print the edits as a patch instead")
    selection(fix)
    fix.add_argument(
        "--fix", dest="only", metavar="NAME", help="make this fix alone, e.g. enable-auto-fix"
    )
    fix.add_argument("--unsafe", action="store_true", help="also fixes that change the model")


def _mcp(commands: Commands) -> None:
    mcp = command(
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
    paths(mcp, "folders to serve")


def _rule(commands: Commands) -> None:
    rule = command(
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


def _completion(commands: Commands) -> None:
    completion = command(
        commands,
        "completion",
        "print the script that completes commands in a shell",
        "Print a script for a shell, which then completes commands, options and files.",
        """\
  gradtracer completion bash > ~/.local/share/bash-completion/completions/gradtracer
  gradtracer completion zsh > ~/.zfunc/_gradtracer
  gradtracer completion fish > ~/.config/fish/completions/gradtracer.fish""",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL")


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
