"""`gradtracer compress`: a checkpoint made smaller by a recipe, and measured."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import to_builtins

from gradtracer_schemas import CheckpointRequest, CheckpointResult, size_in_words
from gradtracer_server.compressing import compress_checkpoint
from gradtracer_server.headless.output import note, say
from gradtracer_server.render.escape import clean
from gradtracer_server.render.json import document


def compress(
    request: CheckpointRequest, *, output_format: str = "text", python: str | None = None
) -> int:
    """Compress and print what came of it; the exit status.

    Raises:
        CompressionFailed: it could not be done.
    """
    result = compress_checkpoint(
        request,
        Path.cwd(),
        lambda what: note(f"gradtracer: {clean(what)}"),
        python or sys.executable,
    )
    say(document([to_builtins(result)]) if output_format == "json" else result_line(result))
    return 0


def result_line(result: CheckpointResult) -> str:
    """`model.compressed.pt: 25.60 MB -> 3.60 MB (7.1x), NDCG@10 0.0681 -> 0.0680 (-0.05 %)`."""
    ratio = result.bytes_before / max(1, result.bytes_after)
    sizes = f"{size_in_words(result.bytes_before)} -> {size_in_words(result.bytes_after)}"
    line = f"{clean(result.output, 300)}: {sizes} ({ratio:.1f}x), "
    before, after = result.quality_before, result.quality_after
    if before is None or after is None:
        return f"{line}quality not measured"
    change = f" ({100 * (after / before - 1):+.2f} %)" if before else ""
    return f"{line}{clean(result.metric, 60) or 'quality'} {before:.4g} -> {after:.4g}{change}"
