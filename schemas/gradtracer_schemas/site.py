"""Where in the user's source a thing was defined."""

from __future__ import annotations

from typing import Literal

import msgspec

SiteOrigin = Literal["constructor", "registration", "class-source", "call", "unknown"]
"""How the site was found, most reliable first.

`constructor`: frames seen while the layer's own constructor ran;
`registration`: frames seen when PyTorch registered the layer with its parent;
`class-source`: read from the parent class's source after the fact;
`call`: the frames of a call of ours (`watch`, `EmbeddingTracker`), of what raised an exception, or
of what unpickled the model; `unknown`: none found.
"""


class SourceFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One statement on the way from the layer's constructor out to the script."""

    file: str
    """Absolute path as the interpreter saw it; of a notebook's cell the name that its kernel made
    up: `<ipython-input-…>`, or `…/ipykernel_PID/NUMBER.py`, where no file is."""
    start_line: int
    """First line of the statement, counted from 1."""
    start_column: int
    """Column of its first character, counted from 0 in Unicode code points."""
    end_line: int
    """Last line of the statement, counted from 1."""
    end_column: int
    """Column after its last character, from 0 in code points."""
    qualname: str
    """Qualified name of the enclosing scope (`MF.__init__`), or `<module>`."""
    text: str = ""
    """The statement as it stood when the run read it; empty when no source was at hand."""
    digest: str = ""
    """First 16 hex digits of the SHA-256 of `text` in UTF-8."""
    expression: str = ""
    """The call in the statement that built the layer, when narrower than the statement."""
    cell: str = ""
    """Of a notebook's cell, the digest of its lines (`cell_digest`); empty for a file."""


class SourceSite(msgspec.Struct, frozen=True, kw_only=True):
    """The chain of frames that defined a thing, innermost first."""

    frames: list[SourceFrame] = []
    """Innermost first; empty when nothing is known."""
    attribute: str = ""
    """Dotted path from the watched model to the layer (`encoder.item_emb`)."""
    origin: SiteOrigin = "unknown"
    """How the chain was found."""
