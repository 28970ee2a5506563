"""The word on a model that was built before anyone could see where."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import nn

from gradtracer.callsite import is_recorded
from gradtracer_schemas import SourceSite

_log = logging.getLogger("gradtracer")
_NAMED = 4
_said = False


def say_what_was_built_before(
    layers: Mapping[str, nn.Module], sites: Mapping[str, SourceSite]
) -> None:
    """Warn, once in a process, of layers that were built before recording began.

    Their lines were read from the source of their owners' classes, or are in no site.
    """
    global _said
    before = [path for path, module in layers.items() if not is_recorded(module)]
    if _said or not before:
        return
    _said = True
    unknown = [
        path or "the model" for path in before if path not in sites or not sites[path].frames
    ]
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    _log.warning(
        "the model was built before gradtracer was imported: %s. Import gradtracer before the "
        "model is built",
        f"no line is known of {', '.join(unknown[:_NAMED])}{more}, and nothing is shown there"
        if unknown
        else "the lines of its layers are read from its classes, which do not tell which of "
        "several branches ran",
    )
