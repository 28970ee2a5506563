"""The command that compresses a checkpoint, with progress, by a process of its own."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from gradtracer_server.exceptions import ServerError

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

COMPRESS = "gradtracer.compressCheckpoint"


async def compress_checkpoint(ls: GradTracerServer, *arguments: Any) -> dict[str, Any]:
    """Compress a checkpoint (an object as PROTOCOL.md has it); bytes and quality, or why not."""
    import msgspec

    from gradtracer_schemas import CheckpointRequest
    from gradtracer_server.compressing import compress_checkpoint as compress

    session = ls.session
    if session is None or not session.roots:
        return {"done": False, "reason": "no folder is open"}
    try:
        request = msgspec.convert(_plain(arguments[0] if arguments else {}), CheckpointRequest)
    except msgspec.ValidationError as error:
        return {"done": False, "reason": f"expected a request of PROTOCOL.md: {error}"}
    folder = Path(request.folder) if request.folder else session.roots[0]
    loop = asyncio.get_running_loop()
    progress = await _begun(ls, f"Compressing {Path(request.checkpoint).name}")

    def tell(what: str) -> None:
        loop.call_soon_threadsafe(_report, ls, progress, what)

    try:
        result = await asyncio.to_thread(compress, request, folder, tell)
    except ServerError as error:
        return {"done": False, "reason": str(error)}
    finally:
        if progress:
            ls.work_done_progress.end(progress, types.WorkDoneProgressEnd())
            ls.work_done_progress.tokens.pop(progress, None)
    from gradtracer_server.headless.compress import result_line

    return {"done": True, "reason": result_line(result), **msgspec.to_builtins(result)}


async def _begun(ls: GradTracerServer, title: str) -> str:
    """The token of a progress bar, where the client draws one."""
    if not ls.support.work_done_progress:
        return ""
    token = str(uuid.uuid4())
    await ls.work_done_progress.create_async(token)
    ls.work_done_progress.begin(token, types.WorkDoneProgressBegin(title=title))
    return token


def _report(ls: GradTracerServer, token: str, what: str) -> None:
    if token:
        ls.work_done_progress.report(token, types.WorkDoneProgressReport(message=what))


def _plain(given: Any) -> Any:
    """What pygls made an object of, as a dictionary again."""
    return given._asdict() if hasattr(given, "_asdict") else given
