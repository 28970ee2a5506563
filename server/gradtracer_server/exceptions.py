"""Errors of the server and its commands.

ServerError
├── SettingsError     a setting that is unknown or of the wrong type
├── JournalUnreadable a journal that is missing, not a regular file, or may not be read
└── UsageError        a command that cannot be carried out as it was given
"""

from __future__ import annotations


class ServerError(Exception):
    """Base of every error that `gradtracer_server` raises on purpose."""


class SettingsError(ServerError):
    """A setting that cannot be used; the default stands in its place."""


class JournalUnreadable(ServerError):
    """The journal cannot be read now; it may be later."""


class UsageError(ServerError):
    """What was asked of a command makes no sense; its text tells what would."""
