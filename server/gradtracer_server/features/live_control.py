"""Commands that change a training while it goes on, and the code actions that offer them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from gradtracer_server.exceptions import ServerError

if TYPE_CHECKING:
    from gradtracer_schemas import SetAutoFix, SetTrackInterval
    from gradtracer_server.findings import Finding
    from gradtracer_server.language_server import GradTracerServer

SET_AUTO_FIX = "gradtracer.setAutoFix"
SET_TRACK_INTERVAL = "gradtracer.setTrackInterval"
LIVE = "quickfix.gradtracer.live"
"""Code action kind of a change of a training that goes on: no text is edited."""

_MOST_INTERVAL = 1_000_000


async def set_auto_fix(ls: GradTracerServer, *arguments: Any) -> dict[str, Any]:
    """Turn auto-fix on or off in a live run (`run id`, `enabled`, `layer`); what it answered."""
    from gradtracer_schemas import SetAutoFix

    run, enabled, layer = [*arguments, *("", None, "")[len(arguments) :]][:3]
    if not isinstance(enabled, bool):
        return {"accepted": False, "reason": f"expected true or false, got {enabled!r:.80}"}
    return await _ask(ls, str(run or ""), SetAutoFix(enabled=enabled, layer=str(layer or "")))


async def set_track_interval(ls: GradTracerServer, *arguments: Any) -> dict[str, Any]:
    """Follow another share of the steps (`run id`, `interval`, `layer`); what it answered."""
    from gradtracer_schemas import SetTrackInterval

    run, interval, layer = [*arguments, *("", None, "")[len(arguments) :]][:3]
    if not isinstance(interval, int) or not 1 <= interval <= _MOST_INTERVAL or interval is True:
        reason = f"expected a number from 1 to {_MOST_INTERVAL:,}, got {interval!r:.80}"
        return {"accepted": False, "reason": reason}
    change = SetTrackInterval(interval=interval, layer=str(layer or ""))
    return await _ask(ls, str(run or ""), change)


async def _ask(
    ls: GradTracerServer, name: str, change: SetAutoFix | SetTrackInterval
) -> dict[str, Any]:
    from gradtracer_server.control import ask, live_run, request_of

    session = ls.session
    if session is None or not session.watcher.ready:
        return {"accepted": False, "reason": "the server has only begun"}
    try:
        run = live_run(session.watcher.book.runs, name)
        # It waits for another process: not in the thread that answers the editor.
        answer = await asyncio.to_thread(ask, run, request_of(run, change, sender="editor"))
    except ServerError as error:
        return {"accepted": False, "reason": str(error)}
    return {"accepted": answer.status == "accepted", "reason": answer.reason}


def live_action(finding: Finding) -> types.CodeAction | None:
    """Auto-fix on or off for the table of a finding that it acts on, where its run is live."""
    from gradtracer_server.discovery import read_connection

    diagnosis, run = finding.diagnosis, finding.run
    if diagnosis.type != "ZOMBIE_EMBEDDINGS" or run.status != "live":
        return None
    state = run.layers.get(diagnosis.layer)
    connection = read_connection(run.folder)
    if state is None or connection is None or not connection.control:
        return None
    enable = not state.watched.settings.get("auto_fix", False)
    word = "on" if enable else "off"
    title = f"Turn auto-fix {word} for {diagnosis.layer[:80]} in the running training (live)"
    return types.CodeAction(
        title=title,
        kind=LIVE,
        command=types.Command(
            title=title, command=SET_AUTO_FIX, arguments=[run.id, enable, diagnosis.layer]
        ),
    )
