"""gradtracer/status: how runs and findings stand, to clients that said that they show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

STATUS = "gradtracer/status"


class StatusReporter:
    """Sends the status when it has changed."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._told: dict[str, Any] | None = None

    def update(self) -> None:
        """Tell how things stand, unless that is what was told last."""
        from gradtracer_server.standing import standing

        session = self._ls.session
        if session is None or not self._ls.support.status:
            return
        now = standing(session)
        if now != self._told:
            self._told = now
            self._ls.protocol.notify(STATUS, now)
