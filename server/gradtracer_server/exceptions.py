"""Errors of the server and its commands.

ServerError
├── SettingsError     a setting that is unknown or of the wrong type
├── JournalUnreadable a journal that is missing, not a regular file, or may not be read
├── EditError         an edit of the user's source that is not made
│   ├── EditConflict  two edits of one text overlap
│   ├── NotApplicable a fix that has nothing to edit here
│   │   └── AlreadyApplied  the text says already what the fix would write
│   └── EditRefused   the result would be broken, or is not what was asked for
├── ControlFailed     a request to a live run that got no answer
├── CompressionFailed a checkpoint that was not compressed
└── UsageError        a command that cannot be carried out as it was given
"""

from __future__ import annotations


class ServerError(Exception):
    """Base of every error that `gradtracer_server` raises on purpose."""


class SettingsError(ServerError):
    """A setting that cannot be used; the default stands in its place."""


class JournalUnreadable(ServerError):
    """The journal cannot be read now; it may be later."""


class ControlFailed(ServerError):
    """A run was not reached, or did not answer; its text tells why, and what to do."""


class CompressionFailed(ServerError):
    """A checkpoint was not compressed; its text tells why, and the old files are as they were."""


class UsageError(ServerError):
    """What was asked of a command makes no sense; its text tells what would."""


class EditError(ServerError):
    """An edit that is not made; the source stays as it is."""


class EditConflict(EditError):
    """Two edits of one text overlap."""


class NotApplicable(EditError):
    """A fix that has nothing to edit here; its text tells the user why."""


class AlreadyApplied(NotApplicable):
    """The text says already what the fix would write: the finding is about an older text."""


class EditRefused(EditError):
    """The result of an edit would be broken, or not what was asked for."""
