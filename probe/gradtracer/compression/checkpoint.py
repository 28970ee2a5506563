"""A saved checkpoint compressed by a recipe: what `gradtracer compress` has done by a process.

`python -m gradtracer.compression REQUEST` takes a JSON object as `CheckpointRequest` and writes
lines of JSON to standard output: `{"progress": ...}` while it works, then `{"result": ...}` or
`{"error": ...}`. What the user's own code prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from gradtracer.compression.application import as_recipe, compress
from gradtracer.compression.compressed_file import built_by, imported, save_compressed
from gradtracer.compression.quality import values_of
from gradtracer.exceptions import GradTracerError, UsageError
from gradtracer_schemas import CheckpointRequest, CheckpointResult, LayerRecipe, Recipe

_HOLDERS = ("state_dict", "model_state_dict", "model")
"""Names under which a checkpoint of several things has the weights."""

Tell = Callable[[str], None]
"""Called with each step that begins."""


def compress_checkpoint(
    request: CheckpointRequest, tell: Tell = lambda _: None
) -> CheckpointResult:
    """Read a checkpoint, compress it, measure it where that is asked for, and write it.

    Raises:
        UsageError: the checkpoint holds no weights, or not those of the model; the model's or the
            metric's `module:function` is none.
        RecipeError: the recipe is none, or another model's.
        NotCompressible: weights that cannot be packed.
        OSError: a file cannot be read or written; an old output is as it was.
    """
    started = time.monotonic()
    checkpoint = Path(request.checkpoint)
    recipe = as_recipe(Path(request.recipe))
    if request.layers:
        recipe = only(recipe, request.layers)
    tell(f"reading {checkpoint.name}")
    state = weights_of(checkpoint)
    model = built_by(request.model)
    _load(model, state, checkpoint, request.model)
    model.eval()
    evaluate = imported(request.evaluate) if request.evaluate else None
    before = _quality(evaluate, model, tell, "measuring it as it is")
    tell("compressing")
    compressed = compress(model, recipe)
    after = _quality(evaluate, compressed, tell, "measuring it compressed")
    output = Path(request.output) if request.output else _beside(checkpoint)
    tell(f"writing {output.name}")
    size = save_compressed(compressed, output, factory=request.model)
    return CheckpointResult(
        output=str(output),
        bytes_before=checkpoint.stat().st_size,
        bytes_after=size,
        metric=recipe.metric or (request.evaluate or "").rpartition(":")[2],
        quality_before=before,
        quality_after=after,
        seconds=time.monotonic() - started,
    )


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, read without running anything that it holds.

    Raises:
        UsageError: it holds something else.
        OSError: it cannot be read.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with path.open("rb"):
        pass
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"{path}: expected weights that torch.load(..., weights_only=True) reads, got "
            f"{type(error).__name__}; save model.state_dict()"
        ) from None
    for name in _HOLDERS:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
            break
    if not isinstance(held, Mapping) or not any(isinstance(x, Tensor) for x in held.values()):
        raise UsageError(
            f"{path}: expected the weights of a model, alone or under one of {', '.join(_HOLDERS)},"
            f" got {type(held).__name__}; save model.state_dict()"
        )
    return {str(name): each for name, each in held.items() if isinstance(each, Tensor)}


def only(recipe: Recipe, layers: list[str]) -> Recipe:
    """The recipe for some of its layers, the others left as they are.

    Raises:
        UsageError: it has no such layer, or one that is decided together with another.
    """
    unknown = [name for name in layers if recipe.layers.get(name) is None]
    if unknown:
        known = ", ".join(name for name, entry in recipe.layers.items() if entry)
        raise UsageError(f"expected layers of the recipe ({known}), got {', '.join(unknown)}")
    kept = {name: recipe.layers[name] for name in layers}
    for name, entry in kept.items():
        apart = [each for each in _together_with(recipe, entry) if each not in kept]
        if apart:
            raise UsageError(
                f"{name} is narrowed together with {', '.join(apart)}: name both, or neither"
            )
    return msgspec.structs.replace(recipe, layers=kept)


def _together_with(recipe: Recipe, entry: LayerRecipe | None) -> list[str]:
    """Layers whose shapes an entry's must fit."""
    if entry is None:
        return []
    found = list(entry.factor.partners) if entry.factor else []
    for name, other in recipe.layers.items():
        if other is None or other is entry:
            continue
        feeds = entry.kept_units is not None and other.kept_inputs == entry.kept_units
        reads = entry.kept_inputs is not None and other.kept_units == entry.kept_inputs
        found += [name] if feeds or reads else []
    return found


def _load(model: nn.Module, state: dict[str, Tensor], path: Path, factory: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise UsageError(f"{path} does not fit what {factory} builds: {told[:400]}") from None


def _quality(
    evaluate: Callable[..., Any] | None, model: nn.Module, tell: Tell, what: str
) -> float | None:
    if evaluate is None:
        return None
    tell(what)
    with torch.no_grad():
        return float(values_of(evaluate, model).mean())


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}.compressed{checkpoint.suffix or '.pt'}")


def main(arguments: list[str]) -> int:
    """Carry out the request that is the one argument; the exit status."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(**line: Any) -> None:
        channel.write(msgspec.json.encode(line) + b"\n")
        channel.flush()

    try:
        request = msgspec.json.decode(arguments[0], type=CheckpointRequest)
        # As for any script of the user's, its own modules are beside it.
        sys.path[:0] = [request.folder or str(Path.cwd())]
        say(result=compress_checkpoint(request, lambda what: say(progress=what)))
    except (GradTracerError, OSError, msgspec.ValidationError) as error:
        say(error=str(error))
        return 1
    return 0
