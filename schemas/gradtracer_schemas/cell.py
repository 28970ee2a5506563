"""How a notebook's cell is known again: by a digest that kernel and editor can both make."""

from __future__ import annotations

import hashlib
import re

_MAGIC = re.compile(r"\s*[%!?]|.*\bget_ipython\(\)\.|.*=\s*[%!]|.*\?\s*$")
"""A line of IPython's own syntax, as someone writes it or as IPython rewrites it before it runs."""


def cell_digest(source: str) -> str:
    """First 16 hex digits of the SHA-256 of a cell's lines in UTF-8, joined by line feeds.

    Lines of IPython's own syntax (`%time`, `!pip`, `x = !ls`, `thing?`) do not count: the kernel
    knows them rewritten. Neither do empty lines at the ends.
    """
    lines = [line.rstrip() for line in source.splitlines()]
    own = "\n".join(line for line in lines if not _MAGIC.match(line)).strip("\n")
    return hashlib.sha256(own.encode("utf-8", "replace")).hexdigest()[:16]
