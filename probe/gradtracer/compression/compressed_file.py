"""Compressed models on disk: plain tensors and a layout, in PyTorch's form or safetensors'.

Nothing that a file says is run when it is read, as with `torch.load(..., weights_only=True)`: it
holds tensors, and a text that says what they are. It may name the function that builds the model;
that is imported and called only where the caller asks for it by `trust_factory=True`, since whoever
writes the file chooses the name.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from gradtracer.compression.layout import Layout, describe, make_room
from gradtracer.exceptions import MissingLibrary, NotCompressed, UsageError

LAYOUT = "gradtracer_layout"
"""Key of the layout: beside `state_dict` in PyTorch's form, in the metadata of safetensors'."""
_SAFETENSORS = ".safetensors"


def save_compressed(model: nn.Module, path: Path | str, *, factory: str = "") -> int:
    """Write a compressed model, so that at any moment the old file or the new one is there whole.

    Args:
        model: What `gradtracer.compress` returned.
        path: Ends in `.safetensors` for that form; PyTorch's, loadable with `weights_only=True`,
            otherwise.
        factory: `module:function` that builds the model as it was before compression; who trusts
            the file may then load it without a model.

    Returns:
        Size of the file, bytes.

    Raises:
        OSError: it cannot be written (the disk is full, say); an old file is as it was.
        MissingLibrary: safetensors is not installed.
    """
    path = Path(path)
    state = {name: each for name, each in model.state_dict().items() if isinstance(each, Tensor)}
    first = _first_names(state)
    described = msgspec.structs.replace(
        describe(model, factory), same={name: one for name, one in first.items() if name != one}
    )
    layout = msgspec.json.encode(described).decode()
    state = {name: state[name].contiguous() for name, one in first.items() if name == one}
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        if path.suffix == _SAFETENSORS:
            _safetensors().save_file(state, draft, metadata={LAYOUT: layout})
        else:
            with draft.open("wb") as file:
                torch.save({LAYOUT: layout, "state_dict": state}, file)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except Exception as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError | MissingLibrary):
            raise
        # both writers wrap what the operating system says in an error of their own
        raise OSError(f"{path} cannot be written: {error}") from error
    return path.stat().st_size


def load_compressed(
    path: Path | str,
    model: nn.Module | Callable[[], nn.Module] | str | None = None,
    *,
    trust_factory: bool = False,
) -> nn.Module:
    """Read what `save_compressed` wrote; no code is chosen by the file, unless it is trusted.

    Args:
        path: The file.
        model: The model as it is before compression, with any numbers (it is changed in place); or
            what builds it, or `module:function` that does, which is imported and called.
        trust_factory: Import and call the `module:function` that the file itself names, where
            `model` is None. Only for files whose writer you trust to choose what runs.

    Returns:
        The compressed model, in evaluation mode, on the device of `model`.

    Raises:
        NotCompressed: the file is no compressed model, or that of another model (with the names
            that differ).
        UsageError: no model was passed, and the file names no factory, or is not trusted.
        OSError: it cannot be read.
    """
    path = Path(path)
    state, layout = read_compressed(path)
    try:
        fresh = make_room(_fresh(path, model, layout, trust_factory), layout)
    except NotCompressed as error:
        raise NotCompressed(f"{path}: {error}") from None
    expected = set(fresh.state_dict())
    state |= {name: state[one] for name, one in layout.same.items() if one in state}
    missing, unknown = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unknown:
        raise NotCompressed(
            f"{path}: expected the tensors of {type(fresh).__name__}, got "
            + " and ".join(
                part
                for part, names in (
                    (f"none for {', '.join(missing[:5])}", missing),
                    (f"unknown {', '.join(unknown[:5])}", unknown),
                )
                if names
            )
        )
    try:
        fresh.load_state_dict(state)
    except RuntimeError as error:
        raise NotCompressed(f"{path}: {error}") from None
    return fresh.eval()


def read_compressed(path: Path) -> tuple[dict[str, Tensor], Layout]:
    """The tensors and the layout of a file, with nothing run that it holds.

    Raises:
        NotCompressed: it is none that `save_compressed` wrote.
        OSError: it cannot be read.
    """
    with path.open("rb"):
        pass
    try:
        if path.suffix == _SAFETENSORS:
            with _safetensors_open()(path, "pt") as file:
                text = (file.metadata() or {}).get(LAYOUT)
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            whole = isinstance(content, dict) and {LAYOUT, "state_dict"} <= content.keys()
            text, state = (content[LAYOUT], content["state_dict"]) if whole else (None, {})
    except (MissingLibrary, OSError):
        raise
    except Exception as error:
        raise NotCompressed(
            f"{path}: expected a file of save_compressed, got one that cannot be read "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120]})"
        ) from None
    if not isinstance(text, str):
        raise NotCompressed(
            f"{path}: expected a file of save_compressed, got tensors without a layout; load them "
            "by torch.load and load_state_dict"
        )
    try:
        layout = msgspec.json.decode(text, type=Layout)
    except msgspec.DecodeError as error:
        raise NotCompressed(f"{path}: expected a layout, got {error}") from None
    if layout.version > Layout().version:
        raise NotCompressed(
            f"{path}: expected a layout of version {Layout().version} or before, got "
            f"{layout.version}; update gradtracer"
        )
    return state, layout


def state_bytes(model: nn.Module) -> int:
    """Bytes of the tensors that a model saves, one that is shared counted once."""
    state = {name: each for name, each in model.state_dict().items() if isinstance(each, Tensor)}
    return sum(state[one].nbytes for one in set(_first_names(state).values()))


def built_by(factory: str) -> nn.Module:
    """The model that `module:function` builds.

    Raises:
        UsageError: there is none such, or it returns no module.
    """
    built = imported(factory)()
    if not isinstance(built, nn.Module):
        raise UsageError(f"expected {factory} to return a module, got {type(built).__name__}")
    return built


def imported(name: str) -> Callable[..., Any]:
    """What `module:function` names. Raises UsageError where there is none such."""
    module, colon, function = name.partition(":")
    try:
        if not colon:
            raise ValueError("no colon")
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise ValueError("not to be called")
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"expected module:function, e.g. recommender.models:build, got {name!r} ({error})"
        ) from None
    return found


def _fresh(
    path: Path,
    model: nn.Module | Callable[[], nn.Module] | str | None,
    layout: Layout,
    trusted: bool,
) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    if callable(model):
        return model()
    if model or (trusted and layout.factory):
        return built_by(model or layout.factory)
    if layout.factory:
        raise UsageError(
            f"{path} says that {layout.factory!r} builds its model, and was not trusted to choose "
            f"what runs: pass it, load_compressed({str(path)!r}, {layout.factory!r}), or "
            "trust_factory=True for files of writers whom you trust"
        )
    raise UsageError(
        f"{path} does not say what builds the model: pass it, or what builds it, e.g. "
        f"load_compressed({str(path)!r}, {layout.model or 'Model'}(...))"
    )


def _first_names(state: dict[str, Tensor]) -> dict[str, str]:
    """For each name the first of those under which the same tensor is saved."""
    first: dict[object, str] = {}
    return {
        name: first.setdefault((each.data_ptr() or id(each), each.shape), name)
        for name, each in state.items()
    }


def _safetensors() -> Any:
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError:
        raise _missing() from None


def _safetensors_open() -> Any:
    try:
        return importlib.import_module("safetensors").safe_open
    except ImportError:
        raise _missing() from None


def _missing() -> MissingLibrary:
    return MissingLibrary(
        "a file that ends in .safetensors needs safetensors, which is not installed; "
        "pip install 'gradtracer[compression]'"
    )
