"""workspace/textDocumentContent: the full report of a layer as a document that no file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from lsprotocol import types

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

SCHEME = "gradtracer"
OPTIONS = types.TextDocumentContentOptions(schemes=[SCHEME])
MOST_FOLLOWED = 16
"""Documents whose changes the client is told of, the last asked for."""


def text_document_content(
    ls: GradTracerServer, params: types.TextDocumentContentParams
) -> types.TextDocumentContentResult:
    """The text of one of our documents; an empty one for a layer that no run has."""
    followed = ls.followed_content
    followed.pop(params.uri, None)
    followed[params.uri] = None
    while len(followed) > MOST_FOLLOWED:
        del followed[next(iter(followed))]
    return types.TextDocumentContentResult(text=content_of(ls, params.uri) or "")


def report_uri(layer: str, run_id: str) -> str:
    """The document of a layer in a run."""
    return f"{SCHEME}:/report/{quote(run_id, safe='')}/{quote(layer, safe='')}.md"


RUNS_URI = f"{SCHEME}:/runs.md"


def content_of(ls: GradTracerServer, uri: str) -> str | None:
    """The text of a document; None where there is none."""
    from gradtracer_server.render.report import layer_of, layer_report, runs_report

    session = ls.session
    try:
        path = urlsplit(uri).path.removesuffix(".md")
    except ValueError:
        return None
    if session is None:
        return None
    match [unquote(part) for part in path.split("/")]:
        case ["", "runs"]:
            return runs_report(session.all_runs)
        case ["", "report", run_id, layer]:
            found = layer_of(session.all_runs, run_id, layer)
            if found is None:
                return None
            run, state = found
            return layer_report(state, run, session.earlier(run))
        case _:
            return None


async def refresh(ls: GradTracerServer) -> None:
    """Have the client ask again for the documents that it has open."""
    for uri in list(ls.followed_content):
        await ls.workspace_text_document_content_refresh_async(
            types.TextDocumentContentRefreshParams(uri=uri)
        )
