"""Universal Binary JSON, as XGBoost writes it: typed arrays become numpy arrays without a copy.

Draft 12 of ubjson.org; big-endian. Only what a model holds is read: no `N`, no high-precision.
A tree holds some sixty values, so that the reader passes its place along instead of keeping it.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_NUMBERS = {
    ord(marker): (struct.Struct(form), np.dtype(dtype))
    for marker, form, dtype in (
        ("i", ">b", "i1"),
        ("U", ">B", "u1"),
        ("I", ">h", ">i2"),
        ("l", ">i", ">i4"),
        ("L", ">q", ">i8"),
        ("d", ">f", ">f4"),
        ("D", ">d", ">f8"),
    )
}
_PLAIN: dict[int, Any] = {ord("Z"): None, ord("T"): True, ord("F"): False}
_TEXT, _CHARACTER, _TYPE, _COUNT = b"SC$#"
_OBJECT, _OBJECT_END, _ARRAY, _ARRAY_END = b"{}[]"
_LONG = ord("L")
_read_long = struct.Struct(">q").unpack_from


def decode(raw: bytes | bytearray | memoryview) -> Any:
    """The value that `raw` holds.

    Raises:
        ValueError: it is no UBJSON, or ends too early.
    """
    held = bytes(raw)
    try:
        return _of(held, held[0], 1)[0]
    except (struct.error, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected UBJSON, got bytes that cannot be read ({error!r})") from None


_Read = tuple[Any, int]
"""A value, and where the next one begins."""


def _of(raw: bytes, marker: int, at: int) -> _Read:
    """The value of a type, which begins at `at`."""
    if marker == _ARRAY:
        return _array(raw, at)
    if marker == _OBJECT:
        return _object(raw, at)
    if marker == _TEXT:
        return _text(raw, at)
    if marker in _NUMBERS:
        form, dtype = _NUMBERS[marker]
        return form.unpack_from(raw, at)[0], at + dtype.itemsize
    if marker == _CHARACTER:
        return raw[at : at + 1].decode(), at + 1
    return _PLAIN[marker], at


def _text(raw: bytes, at: int) -> tuple[str, int]:
    size, begin = _count(raw, at)
    end = begin + size
    if size < 0 or end > len(raw):
        raise IndexError(f"no byte {end} in {len(raw)}")
    return raw[begin:end].decode(), end


def _count(raw: bytes, at: int) -> tuple[int, int]:
    if raw[at] == _LONG:  # as XGBoost writes all its lengths
        return _read_long(raw, at + 1)[0], at + 9
    return _of(raw, raw[at], at + 1)


def _header(raw: bytes, at: int) -> tuple[int | None, int | None, int]:
    """Type and count of a container, where they are given."""
    marker = None
    if raw[at] == _TYPE:
        marker, at = raw[at + 1], at + 2
    if raw[at] != _COUNT:
        return marker, None, at
    return marker, *_count(raw, at + 1)


def _object(raw: bytes, at: int) -> _Read:
    marker, count, at = _header(raw, at)
    found: dict[str, Any] = {}
    while raw[at] != _OBJECT_END if count is None else len(found) < count:
        name, at = _text(raw, at)
        kind = marker
        if kind is None:
            kind, at = raw[at], at + 1
        found[name], at = _of(raw, kind, at)
    return found, at + (count is None)


def _array(raw: bytes, at: int) -> _Read:
    marker, count, at = _header(raw, at)
    if marker in _NUMBERS and count is not None:
        dtype = _NUMBERS[marker][1]
        end = at + dtype.itemsize * count
        if count < 0 or end > len(raw):
            raise IndexError(f"no byte {end} in {len(raw)}")
        return np.frombuffer(raw, dtype, count, at), end
    found: list[Any] = []
    while raw[at] != _ARRAY_END if count is None else len(found) < count:
        kind = marker
        if kind is None:
            kind, at = raw[at], at + 1
        value, at = _of(raw, kind, at)
        found.append(value)
    return found, at + (count is None)
