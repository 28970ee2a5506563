"""Sets of rows as a recipe writes them: a compressed bitmap, as a table may have millions."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray

from gradtracer.exceptions import RecipeError
from gradtracer_schemas import RowSet


def pack_rows(chosen: NDArray[np.bool_]) -> RowSet:
    """Write a mask `[rows]` bool as a row set."""
    bits = np.packbits(chosen, bitorder="little")
    bitmap = base64.b64encode(zlib.compress(bits.tobytes(), 6)).decode("ascii")
    return RowSet(count=int(chosen.sum()), bitmap=bitmap)


def unpack_rows(rows: RowSet, of: int, where: str = "rows") -> NDArray[np.bool_]:
    """Read a row set of a table with `of` rows, as a mask `[of]` bool.

    Args:
        rows: What `pack_rows` wrote, or a hand.
        of: Rows of the table.
        where: Path of the field in the recipe, for errors.

    Raises:
        RecipeError: it is no bitmap, of another number of rows, or of another count.
    """
    size = -(-of // 8)
    try:
        packed = base64.b64decode(rows.bitmap, validate=True)
        # one byte more than there should be tells a longer one, and bounds what is unpacked
        content = zlib.decompressobj().decompress(packed, size + 1)
    except (binascii.Error, zlib.error) as error:
        raise RecipeError(
            f"{where}.bitmap: expected base64 of zlib-compressed bits, got {rows.bitmap[:20]!r} "
            f"({error})"
        ) from None
    if len(content) != size:
        raise RecipeError(
            f"{where}.bitmap: expected {size} bytes for {of} rows, got "
            f"{'more' if len(content) > size else len(content)}; the recipe is for another shape"
        )
    bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little").astype(bool)
    if bits[of:].any():
        raise RecipeError(f"{where}.bitmap: expected rows below {of}, got one above")
    if int(bits.sum()) != rows.count:
        raise RecipeError(
            f"{where}: expected count {int(bits.sum())} as in bitmap, got {rows.count}"
        )
    return bits[:of]
