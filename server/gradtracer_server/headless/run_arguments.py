"""What the commands about runs take: `runs`, `watch`, `report`, `control`, `audit`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gradtracer_server.headless.argument_parts import (
    Commands,
    command,
    folder,
    output_format,
    paths,
)

_ACTIONS = ("list", "show", "compare", "prune")


def with_action(arguments: Sequence[str]) -> list[str]:
    """`runs` and `runs PATH` mean `runs list`."""
    given = list(arguments)
    if given[:1] == ["runs"] and given[1:2] not in [[each] for each in (*_ACTIONS, "-h", "--help")]:
        given.insert(1, "list")
    return given


def add_runs(commands: Commands) -> None:
    """`runs list|show|compare|prune`."""
    runs = command(
        commands,
        "runs",
        "list, show, compare and delete runs",
        "The runs around a folder, the newest first.",
        """\
  gradtracer runs                        list them
  gradtracer runs ../project --output-format json
  gradtracer runs show                   the newest, with the figures of its layers
  gradtracer runs show 20261125-024246   by the beginning of its id
  gradtracer runs compare                the newest with the one before it
  gradtracer runs prune --keep 10 --yes  delete all but the newest ten""",
    )
    actions = runs.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = command(
        actions, "list", "the runs", "List the runs, the newest first.", "  gradtracer runs list"
    )
    paths(listing, "folders to look around")
    output_format(listing)
    _show(actions)
    _compare(actions)
    _prune(actions)


def _show(actions: Commands) -> None:
    show = command(
        actions,
        "show",
        "one run and its layers",
        "Print how a run stands, the figures of its layers and what they show.",
        "  gradtracer runs show\n  gradtracer runs show 20261125-024246 --output-format json",
    )
    show.add_argument("run", nargs="?", metavar="RUN", help="its id (default: the newest)")
    folder(show)
    output_format(show)


def _compare(actions: Commands) -> None:
    compare = command(
        actions,
        "compare",
        "what differs between two runs",
        "Compare what two runs measured at the last step that both reached. One RUN is compared "
        "with the newest; without any, the newest with the one of its script before it.",
        "  gradtracer runs compare\n  gradtracer runs compare 20261124-180000 20261125-024246",
    )
    compare.add_argument("run", nargs="*", metavar="RUN", help="at most two, the older first")
    folder(compare)
    output_format(compare)


def _prune(actions: Commands) -> None:
    prune = command(
        actions,
        "prune",
        "delete old runs",
        "Delete the folders of old runs; without --yes, say which. A run that is live is kept.",
        "  gradtracer runs prune --keep 10\n  gradtracer runs prune --older-than 30 --yes",
    )
    paths(prune, "folders to look around")
    prune.add_argument("--keep", type=_count, metavar="N", help="keep the newest N")
    prune.add_argument(
        "--older-than", type=float, metavar="DAYS", help="only what began so many days ago"
    )
    prune.add_argument("--yes", action="store_true", help="delete them")


def add_watch(commands: Commands) -> None:
    """`watch`."""
    watch = command(
        commands,
        "watch",
        "follow trainings in the terminal",
        "Show progress, loss, figures and diagnoses of the trainings that run now, and of those "
        "that begin later. Ends with Ctrl-C.",
        """\
  gradtracer watch
  gradtracer watch --once                until a training has ended; 1 if it failed
  gradtracer watch --plain | tee log.txt""",
    )
    paths(watch, "folders to look around")
    watch.add_argument("--once", action="store_true", help="end when a training has ended")
    watch.add_argument(
        "--plain", action="store_true", help="a line for each change, as off a terminal"
    )


def add_report(commands: Commands) -> None:
    """`report`."""
    report = command(
        commands,
        "report",
        "write a run as one HTML file",
        "Write a page with the plots, figures and diagnoses of a run: one file that needs "
        "nothing else, in light and dark.",
        """\
  gradtracer report                      the newest run, to gradtracer-RUN.html
  gradtracer report 20261125-024246 -o report.html""",
    )
    report.add_argument("run", nargs="?", metavar="RUN", help="its id (default: the newest)")
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file; - for stdout")
    folder(report)


def add_control(commands: Commands) -> None:
    """`control`."""
    control = command(
        commands,
        "control",
        "change a training while it goes on",
        "Ask a run that is live for a change. Its audit and its stream tell of it. "
        "Exit status: 0 accepted, 1 refused, 2 no answer.",
        """\
  gradtracer control --auto-fix on                the only training that runs here
  gradtracer control 20261125-024246 --auto-fix off --layer item_emb
  gradtracer control --track-interval 1           follow every step from now on
  gradtracer control --report                     measure now""",
    )
    control.add_argument("run", nargs="?", metavar="RUN", help="its id (default: the live one)")
    change = control.add_mutually_exclusive_group(required=True)
    change.add_argument("--auto-fix", choices=("on", "off"), help="turn auto-fix on or off")
    change.add_argument(
        "--track-interval",
        type=_interval,
        metavar="N",
        help="follow gradients at 1/N of the steps",
    )
    change.add_argument("--report", action="store_true", help="measure and report now")
    control.add_argument("--layer", metavar="LAYER", help="one table (default: everything)")
    control.add_argument("--reason", default="", metavar="TEXT", help="for the audit")
    folder(control)
    output_format(control)


def _interval(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1,000,000, got {text!r}")
    return int(text)


def add_audit(commands: Commands) -> None:
    """`audit`."""
    audit = command(
        commands,
        "audit",
        "what auto-fix did, and what was measured of it",
        "Summarise .gradtracer/audit.jsonl: of each run and table the rows that were treated and "
        "held out, why, and the effect measured between them.",
        """\
  gradtracer audit                       all runs around this folder
  gradtracer audit --run 20261125 --layer item_emb --output-format json""",
    )
    paths(audit, "folders to look around")
    audit.add_argument("--run", metavar="RUN", help="only runs whose id begins so")
    audit.add_argument("--layer", metavar="LAYER", help="only this table")
    output_format(audit)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number of runs such as 10, got {text!r}")
    return int(text)
