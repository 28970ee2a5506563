"""Errors that a call of ours may raise; nothing here is ever raised inside a training step.

GradTracerError
├── SettingsError      a setting of the wrong type or name
├── MissingLibrary     a library that a callback, bridge or plot needs is not installed
├── NotAModel          what should be located is no module
├── NothingToWatch     the model has no layer of a kind that is observed
├── RecipeError        a compression recipe that is none, or is for another model
├── NotCompressible    weights that cannot be packed, or packed ones that should be trained
├── NotCompressed      a file that holds no compressed model, or that of another
└── UsageError         a command line that cannot be run, or a call that comes too early
"""

from __future__ import annotations


class GradTracerError(Exception):
    """Base of every error that `gradtracer` raises."""


class SettingsError(GradTracerError, ValueError):
    """A setting has a wrong name, type or value; the message names what was expected."""


class MissingLibrary(GradTracerError, ImportError):
    """A library that is no dependency of ours is needed; the message names the package."""


class NotAModel(GradTracerError, TypeError):
    """The object is no `torch.nn.Module`; the message names what came."""


class NothingToWatch(GradTracerError, TypeError):
    """The object holds nothing that can be observed; the message names what can."""


class RecipeError(GradTracerError, ValueError):
    """A compression recipe cannot be read or does not fit; the message has the field's path."""


class NotCompressible(GradTracerError, ValueError):
    """Weights that cannot be packed, or packed ones asked to learn; the message says which."""


class NotCompressed(GradTracerError, ValueError):
    """A file is no compressed model, or one of another model; the message names what differs."""


class UsageError(GradTracerError):
    """What was asked for cannot be done as it was asked; the message names what would do."""
