"""`gradtracer` and `python -m gradtracer_server`: runs one command, loading only what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gradtracer_server.exceptions import ServerError
from gradtracer_server.headless.arguments import build_parser, parse

_INTERRUPTED = 130
_EXTRA = {
    **dict.fromkeys(
        ("pygls", "lsprotocol", "tree_sitter", "tree_sitter_python", "rich", "shtab"), "server"
    ),
    **dict.fromkeys(("mcp", "anyio", "pydantic"), "agents"),
}
"""Packages that a command may lack, and the extra that brings them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    try:
        status = _run(parse(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. What is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ServerError as error:
        print(f"gradtracer: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            return _crashed()
        print(
            f"gradtracer: {missing} is not installed; pip install 'gradtracer[{_EXTRA[missing]}]'",
            file=sys.stderr,
        )
        return 2
    except Exception:
        return _crashed()
    return status


def _crashed() -> int:
    """Tell of an error of ours; its status must not read as findings."""
    import traceback

    traceback.print_exc()
    print("gradtracer: this is an error of gradtracer; please report it", file=sys.stderr)
    return 2


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "serve":
            from gradtracer_server.server import serve

            return serve(arguments.tcp)
        case "check":
            from gradtracer_server.headless.check import check

            return check(
                arguments.paths,
                output_format="diff" if arguments.diff else arguments.output_format,
                show_fixes=arguments.show_fixes,
                select=arguments.select,
                ignore=arguments.ignore,
                since_run=arguments.since_run,
                baseline=arguments.baseline,
                update_baseline=arguments.write_baseline,
            )
        case "fix":
            from gradtracer_server.headless.fix import fix

            return fix(
                arguments.paths,
                diff=arguments.diff,
                select=arguments.select,
                ignore=arguments.ignore,
                unsafe=arguments.unsafe,
                only=arguments.only,
            )
        case "mcp":
            from gradtracer_server.headless.mcp import mcp

            return mcp(arguments.paths)
        case "rule":
            from gradtracer_server.headless.rule import rule

            return rule(arguments.type)
        case "watch":
            from gradtracer_server.headless.watch import watch

            return watch(arguments.paths, once=arguments.once, plain=arguments.plain)
        case "report":
            from gradtracer_server.headless.report import report

            return report(arguments.run, arguments.output, arguments.paths)
        case "control":
            from gradtracer_server.headless.control import change_of, control

            return control(
                arguments.run,
                arguments.paths,
                change_of(arguments.auto_fix, arguments.track_interval, arguments.layer),
                reason=arguments.reason,
                output_format=arguments.output_format,
            )
        case "audit":
            from gradtracer_server.headless.audit import audit

            return audit(
                arguments.paths,
                run=arguments.run,
                layer=arguments.layer,
                output_format=arguments.output_format,
            )
        case "compress":
            from gradtracer_schemas import CheckpointRequest
            from gradtracer_server.headless.compress import compress

            request = CheckpointRequest(
                checkpoint=arguments.checkpoint,
                recipe=arguments.recipe,
                model=arguments.model,
                evaluate=arguments.evaluate,
                output=arguments.output,
                layers=arguments.layer,
            )
            return compress(request, output_format=arguments.output_format, python=arguments.python)
        case "completion":
            from gradtracer_server.headless.completion import completion

            return completion(arguments.shell, build_parser())
        case _:
            return _run_runs(arguments)


def _run_runs(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "show":
            from gradtracer_server.headless.runs_show import runs_show

            return runs_show(arguments.run, arguments.paths, output_format=arguments.output_format)
        case "compare":
            from gradtracer_server.headless.runs_compare import runs_compare

            return runs_compare(
                arguments.run, arguments.paths, output_format=arguments.output_format
            )
        case "prune":
            from gradtracer_server.headless.runs_prune import runs_prune

            return runs_prune(
                arguments.paths,
                keep=arguments.keep,
                older_than=arguments.older_than,
                sure=arguments.yes,
            )
        case _:
            from gradtracer_server.headless.runs import runs

            return runs(arguments.paths, output_format=arguments.output_format)


if __name__ == "__main__":
    sys.exit(main())
