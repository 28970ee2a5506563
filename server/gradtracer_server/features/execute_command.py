"""workspace/executeCommand: what a lens, a key or a menu entry of the client may call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from gradtracer_server.features.code_lens import OPEN_REPORT
from gradtracer_server.features.compression import COMPRESS, compress_checkpoint
from gradtracer_server.features.live_control import (
    SET_AUTO_FIX,
    SET_TRACK_INTERVAL,
    set_auto_fix,
    set_track_interval,
)
from gradtracer_server.features.proposed_edits import propose, workspace_edit
from gradtracer_server.features.text_document_content import RUNS_URI, content_of, report_uri

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

Command = Callable[..., Awaitable[Any]]


async def show_runs(ls: GradTracerServer, *arguments: Any) -> str:
    """Show the runs; the same as text."""
    return await _open(ls, RUNS_URI)


async def open_report(ls: GradTracerServer, *arguments: Any) -> str:
    """Show the report of a layer (`layer`, and a run's id where there are several); as text too."""
    layer, run_id = ([str(each) for each in arguments] + ["", ""])[:2]
    return await _open(ls, report_uri(layer, run_id))


async def apply_fix(ls: GradTracerServer, *arguments: Any) -> dict[str, Any]:
    """Make a fix (`diagnosis id`, `fix`); whether it was made, and why not."""
    identity, name = ([str(each) for each in arguments] + ["", ""])[:2]
    session = ls.session
    if session is None:
        return {"applied": False, "reason": "the server has only begun"}
    session.settle()
    finding = session.finding(identity)
    if finding is None or finding.state != "current":
        return {"applied": False, "reason": f"no finding {identity!r} holds in the text as it is"}
    fix = next((each for each in propose(ls, finding) if each.name == name), None)
    if fix is None:
        return {"applied": False, "reason": f"{identity} has no fix {name!r}"}
    if fix.disabled_reason is not None:
        return {"applied": False, "reason": fix.disabled_reason}
    edit = workspace_edit(ls, fix, named=True)
    if edit is None:
        return {"applied": False, "reason": f"{fix.title}: refused, the log says why"}
    if not ls.support.applies_edits:
        return {"applied": False, "reason": "this client makes no edits that it did not ask for"}
    try:
        answer = await ls.workspace_apply_edit_async(
            types.ApplyWorkspaceEditParams(edit=edit, label=fix.title)
        )
    except JsonRpcException as error:
        return {"applied": False, "reason": str(error)}
    return {"applied": answer.applied, "reason": answer.failure_reason or ""}


async def stop_following(ls: GradTracerServer, *arguments: Any) -> bool:
    """Leave a run aside (`run id`): nothing of it is shown until `follow`; whether it is known."""
    return _follow(ls, arguments, wanted=False)


async def follow(ls: GradTracerServer, *arguments: Any) -> bool:
    """Show a run again (`run id`)."""
    return _follow(ls, arguments, wanted=True)


async def status(ls: GradTracerServer, *arguments: Any) -> Any:
    """How the runs and findings stand: as `gradtracer/status`."""
    from gradtracer_server.standing import standing

    return standing(ls.session) if ls.session is not None else None


COMMANDS: dict[str, Command] = {
    "gradtracer.showRuns": show_runs,
    OPEN_REPORT: open_report,
    "gradtracer.applyFix": apply_fix,
    "gradtracer.stopFollowing": stop_following,
    "gradtracer.follow": follow,
    "gradtracer.status": status,
    SET_AUTO_FIX: set_auto_fix,
    SET_TRACK_INTERVAL: set_track_interval,
    COMPRESS: compress_checkpoint,
}


def _follow(ls: GradTracerServer, arguments: Sequence[Any], *, wanted: bool) -> bool:
    session = ls.session
    known = session.watcher.book.runs if session is not None and session.watcher.ready else []
    run = next((each for each in known if each.id in arguments[:1]), None)
    if run is None or session is None:
        return False
    session.follow(run.folder, wanted)
    return True


async def _open(ls: GradTracerServer, uri: str) -> str:
    """Show one of our documents where the client can; its text for those that cannot."""
    text = content_of(ls, uri)
    if text is None:
        return ""
    if ls.support.text_document_content and ls.support.show_document:
        try:
            await ls.window_show_document_async(types.ShowDocumentParams(uri=uri, take_focus=True))
        except JsonRpcException as error:
            ls.log_to_client(f"{uri} was not shown: {error}")
    return text
