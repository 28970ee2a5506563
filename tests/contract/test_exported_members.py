"""`__all__` against reality, and the drawn exception trees against the classes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from types import ModuleType

import pytest

PACKAGES = ["gradtracer_schemas", "gradtracer", "gradtracer_server"]
BRANCH = re.compile(r"^(?P<indent>[│├└─\s]*)(?P<name>[A-Z]\w+)(?:\s|$)")


def public_names(module: ModuleType) -> set[str]:
    """What `from module import name` gives, apart from submodules and special names."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in ("annotations", "TYPE_CHECKING", "Any")
    }


def missing(module: ModuleType) -> list[str]:
    """Names in `__all__` that cannot be imported."""
    return [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_can_be_imported(package: str) -> None:
    assert missing(importlib.import_module(package)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_exported(package: str) -> None:
    module = importlib.import_module(package)
    assert public_names(module) - set(getattr(module, "__all__", [])) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_stand_once_and_in_dir(package: str) -> None:
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert set(exported) <= set(dir(module))


def test_the_checks_see_a_forgotten_and_an_invented_name() -> None:
    module = ModuleType("invented")
    module.__all__ = ["here", "nowhere"]  # type: ignore[attr-defined]
    module.here = 1  # type: ignore[attr-defined]
    module.forgotten = 2  # type: ignore[attr-defined]
    assert missing(module) == ["nowhere"]
    assert public_names(module) == {"here", "forgotten"}


def drawn_tree(text: str) -> dict[str, str | None]:
    """Exception name to the name it stands under."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = BRANCH.match(line)
        if match is None or not (match["indent"] or line.strip() == match["name"]):
            continue
        depth = len(match["indent"])
        path = [(at, name) for at, name in path if at < depth]
        parents[match["name"]] = path[-1][1] if path else None
        path.append((depth, match["name"]))
    return parents


def defined_tree(module: ModuleType) -> dict[str, str | None]:
    """The same, from the classes: the base that the module itself defines."""
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    return {
        name: next((base.__name__ for base in cls.__bases__ if base.__name__ in own), None)
        for name, cls in own.items()
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_the_drawn_exception_tree_is_the_real_one(package: str) -> None:
    module = importlib.import_module(f"{package}.exceptions")
    assert drawn_tree(module.__doc__ or "") == defined_tree(module)


def test_the_tree_is_read_as_it_is_drawn() -> None:
    text = "Errors.\n\nAll\n├── Bad    why\n│   └── Cut    why\n└── Dim    why\n"
    assert drawn_tree(text) == {"All": None, "Bad": "All", "Cut": "Bad", "Dim": "All"}


def test_a_name_of_the_original_that_is_gone_says_what_stands_in_for_it() -> None:
    with pytest.raises(ImportError, match=r"no BoostingTracker since 1.0: .*xgboost_callback"):
        importlib.import_module("gradtracer").BoostingTracker  # noqa: B018
    gradtracer = importlib.import_module("gradtracer")
    replaced: dict[str, str] = vars(gradtracer)["_REPLACED"]
    assert not set(replaced) & set(gradtracer.__all__)
    for words in replaced.values():
        for name in re.findall(r"gradtracer\.(\w+)(?=[(.,]|$| )", words):
            assert hasattr(gradtracer, name) or importlib.util.find_spec(f"gradtracer.{name}")
    assert not hasattr(gradtracer, "never_was")
