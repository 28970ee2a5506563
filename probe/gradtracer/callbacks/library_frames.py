"""The library's own frames around a callback: what the training call was given, and if it ended.

A callback is told little: XGBoost's sees neither the rounds planned nor the data, and only XGBoost
says when training has ended. All of it stands in the frames that called the callback, under the
names of the library's documented parameters. What is not found there is done without.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any


class LibraryFrames:
    """The frames of one library on this thread's stack, the innermost first."""

    def __init__(self, package: str) -> None:
        self._frames: list[FrameType] = []
        frame: FrameType | None = inspect.currentframe()
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
                self._frames.append(frame)
            frame = frame.f_back

    def local(self, name: str, *functions: str) -> Any:
        """A local variable of the innermost of some functions that has it; None without one."""
        for frame in self._frames:
            if frame.f_code.co_name in functions:
                value = frame.f_locals.get(name)
                if value is not None:
                    return value
        return None

    def call(self) -> OngoingCall | None:
        """The outermost of these frames: the call that the user's code made."""
        return OngoingCall(self._frames[-1]) if self._frames else None


class GivenArguments:
    """What a training call is given that has not begun yet, asked for as of its frames."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def local(self, name: str, *_functions: str) -> Any:
        """The argument of that name; None without one."""
        return self._given.get(name)

    def call(self) -> OngoingCall | None:
        """None: who knows the arguments knows when the call ends."""
        return None


class OngoingCall:
    """Tells whether a call is still being made, without keeping it or its variables alive."""

    def __init__(self, frame: FrameType) -> None:
        self._thread = threading.get_ident()
        self._frame = id(frame)
        self._code = frame.f_code

    def gave_its_frame_to(self, following: OngoingCall | None) -> bool:
        """Whether another call has begun in the very frame, which Python uses again."""
        return following is not None and (self._thread, self._frame) == (
            following._thread,
            following._frame,
        )

    @property
    def running(self) -> bool:
        """Whether the call's frame is still on its thread's stack."""
        # No public way leads to the stack of another thread.
        frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            if id(frame) == self._frame and frame.f_code is self._code:
                return True
            frame = frame.f_back
        return False
