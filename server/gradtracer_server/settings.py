"""Every setting of the server, with its default; read from pyproject.toml, then from the editor.

Nothing here is fatal: a setting that cannot be used is reported, and its default stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from gradtracer_schemas import DiagnosisType
from gradtracer_server.exceptions import SettingsError
from gradtracer_server.render.plots import Theme

_PROJECT_BYTES = 1 << 20
_FROM_PROJECT = "[tool.gradtracer.server] in pyproject.toml"
_FROM_EDITOR = "the editor's settings"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may want otherwise."""

    show_outdated: bool = True
    """Hovers also tell what was found before the line was edited, and say so."""
    disabled_types: list[DiagnosisType] = []
    """Types of diagnosis that are never shown, e.g. `["POPULARITY_BIAS"]`."""
    inlay_hint_figures: bool = True
    """A layer's figures at the end of its line, e.g. `rank 21.5/64, 91 % seen`."""
    inlay_hint_progress: bool = True
    """How far a run is, at the end of the call that began it."""
    inlay_hint_outdated: bool = True
    """`measured before this edit`, where a line was edited since the run."""
    code_lens: bool = False
    """What was found also stands above the line, which moves the code below it."""
    poll_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 1.0
    """Seconds between two looks for new runs; a live run is heard at once all the same."""
    can_draw_images: bool = False
    """Hovers carry small plots as images. Only the editor may set it: it knows whether it can."""
    theme: Theme = "dark"
    """Kind of the editor's colour theme, for the plots. Only the editor may set it."""
    allow_remote_endpoints: bool = False
    """Follow a run whose connection file points at another machine. Only the editor may set it:
    a project that was downloaded must not be able to make the server call elsewhere."""


_EDITOR_ONLY = frozenset({"allow_remote_endpoints", "can_draw_images", "theme"})
_FIELDS = {field.name: field for field in msgspec.structs.fields(ServerSettings)}


def load_settings(
    roots: Iterable[Path] = (), *options: object
) -> tuple[ServerSettings, list[SettingsError]]:
    """The settings of a workspace, and what was wrong with them.

    `roots`: folders whose pyproject.toml is read, the first that sets a name wins. `options`: what
    the editor sent when it began and since, each a mapping of names in `snake_case` or `camelCase`;
    the last that sets a name wins, over the files too.
    """
    values: dict[str, Any] = {}
    errors: list[SettingsError] = []
    for root in reversed(list(roots)):
        _take(_project_table(root, errors), _FROM_PROJECT, values, errors, _EDITOR_ONLY)
    for sent in options:
        if isinstance(sent, Mapping):
            _take(cast("Mapping[object, object]", sent), _FROM_EDITOR, values, errors)
        elif sent is not None:
            errors.append(
                SettingsError(
                    f"{_FROM_EDITOR}: expected an object such as "
                    f'{{"show_outdated": false}}, got {type(sent).__name__}'
                )
            )
    return ServerSettings(**values), errors


def _take(
    table: Mapping[object, object],
    where: str,
    values: dict[str, Any],
    errors: list[SettingsError],
    refused: frozenset[str] = frozenset(),
) -> None:
    for key, value in table.items():
        name = _snake(str(key))
        if name not in _FIELDS:
            errors.append(SettingsError(_unknown(str(key), where)))
        elif name in refused:
            errors.append(
                SettingsError(f"{where}: {name} is not taken from here; set it in the editor")
            )
        else:
            try:
                values[name] = msgspec.convert(value, _FIELDS[name].type)
            except msgspec.ValidationError as error:
                kept = values.get(name, _FIELDS[name].default)
                kept = [] if kept is msgspec.NODEFAULT else kept
                errors.append(
                    SettingsError(f"{where}: {name}: {_lower(str(error))}; {kept!r} stands")
                )


def _unknown(key: str, where: str) -> str:
    import difflib

    near = difflib.get_close_matches(_snake(key), _FIELDS, n=1, cutoff=0.0)[0]
    return f"{where}: unknown setting {key[:80]!r}; the nearest valid one is {near!r}"


def _project_table(root: Path, errors: list[SettingsError]) -> Mapping[object, object]:
    path = root / "pyproject.toml"
    try:
        if not path.is_file() or path.stat().st_size > _PROJECT_BYTES:
            return {}
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    # Most projects have nothing for us: they should not wait for a TOML parser.
    if "gradtracer" not in content:
        return {}
    import tomllib

    try:
        table: Any = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        errors.append(SettingsError(f"{path}: {error}; its settings are not used"))
        return {}
    ours = _table(_table(table, "tool"), "gradtracer")
    errors.extend(
        SettingsError(f"{path}: {name} belongs in [tool.gradtracer.server]")
        for name in sorted(_FIELDS.keys() & {_snake(str(key)) for key in ours})
    )
    return _table(ours, "server")


def _table(table: Mapping[object, object], name: str) -> Mapping[object, object]:
    inner = table.get(name)
    return cast("Mapping[object, object]", inner) if isinstance(inner, Mapping) else {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
