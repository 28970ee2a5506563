"""`gradtracer control`: change a setting of a training while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradtracer_schemas import ReportNow, SetAutoFix, SetTrackInterval
from gradtracer_server.control import ask, live_run, request_of
from gradtracer_server.headless.output import say
from gradtracer_server.headless.paths import run_book
from gradtracer_server.render.escape import clean
from gradtracer_server.render.json import document

Change = SetAutoFix | SetTrackInterval | ReportNow


def control(
    name: str | None,
    paths: Sequence[Path],
    change: Change,
    *,
    reason: str = "",
    output_format: str = "text",
) -> int:
    """Ask a run, the only live one without a name; 0 when it accepted, 1 when it refused.

    Raises:
        UsageError: there is no such run.
        ControlFailed: it gave no answer.
    """
    run = live_run(run_book(paths).runs, name)
    answer = ask(run, request_of(run, change, sender="command line", reason=reason))
    if output_format == "json":
        say(
            document(
                [
                    {
                        "run": run.id,
                        "request": answer.id,
                        "status": answer.status,
                        "reason": answer.reason,
                        "step": answer.step,
                    }
                ]
            )
        )
    else:
        say(f"{run.id}, step {answer.step:,}: {answer.status}: {clean(answer.reason)}")
    return 0 if answer.status == "accepted" else 1


def change_of(auto_fix: str | None, track_interval: int | None, layer: str | None) -> Change:
    """What the options ask for."""
    if auto_fix is not None:
        return SetAutoFix(enabled=auto_fix == "on", layer=layer or "")
    if track_interval is not None:
        return SetTrackInterval(interval=track_interval, layer=layer or "")
    return ReportNow()
