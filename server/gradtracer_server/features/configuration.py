"""workspace/didChangeConfiguration and initialization options: the user's settings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)

SECTION = "gradtracer"


async def fetch(ls: GradTracerServer) -> None:
    """Ask the client for the user's settings."""
    item = types.ConfigurationItem(section=SECTION)
    try:
        answers = await ls.workspace_configuration_async(types.ConfigurationParams(items=[item]))
    except JsonRpcException as error:
        logger.info("the client told no settings: %s", error)
        return
    if answers:
        ls.configure(answers[0])


def did_change_configuration(
    ls: GradTracerServer, params: types.DidChangeConfigurationParams
) -> None:
    """Take the new settings; a client that sends none is asked for them."""
    settings = section_of(params.settings)
    if settings is not None:
        ls.configure(settings)
    elif ls.support.configuration:
        ls.life.spawn(fetch(ls), "configuration")


def section_of(settings: Any) -> dict[str, Any] | None:
    """Our section of all the settings that a client pushes."""
    section = getattr(settings, SECTION, None)
    if isinstance(settings, dict):
        section = cast("dict[str, Any]", settings).get(SECTION)
    return cast("dict[str, Any]", section) if isinstance(section, dict) else None
