"""The pages of the rules as files: the link under a diagnostic's code opens its page.

There is no web site to point at, and the catalogue of the installed version is the one that counts.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from gradtracer_schemas import RULES, Rule

logger = logging.getLogger(__name__)


@cache
def page_of(type_: str) -> Path | None:
    """The file with the page of a type, written when it is first asked for.

    None for a type without a rule, or where the user's cache cannot be written.
    """
    rule = next((each for each in RULES.values() if each.type == type_), None)
    if rule is None:
        return None
    path = _cache_folder() / "gradtracer" / "rules" / f"{rule.type}.md"
    content = page(rule)
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another server may write the same page at this moment.
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        Path(name).replace(path)
    except (OSError, UnicodeDecodeError) as error:
        logger.info("no page of %s: %s", type_, error)
        return None
    return path


def page(rule: Rule) -> str:
    """The page of a rule as Markdown."""
    return f"""# {rule.title}

`{rule.type}`

**Looks for.** {rule.looks_for}

**Matters.** {rule.matters}

**Remedies.** {rule.remedies}

**Silent when.** {rule.silent_when}

**Source.** {rule.source}

To silence it on a line: `# gradtracer: ignore[{rule.type}]`; everywhere: `disabled_types` in the
settings.
"""


def _cache_folder() -> Path:
    """Where programs of the user keep what they can write again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
