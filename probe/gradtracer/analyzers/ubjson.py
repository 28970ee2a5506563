"""Universal Binary JSON, as XGBoost writes it: typed arrays become numpy arrays without a copy.

Draft 12 of ubjson.org; big-endian. Only what a model holds is read: no `N`, no high-precision.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_NUMBERS = {
    b"i": ("b", 1, "i1"),
    b"U": ("B", 1, "u1"),
    b"I": (">h", 2, ">i2"),
    b"l": (">i", 4, ">i4"),
    b"L": (">q", 8, ">i8"),
    b"d": (">f", 4, ">f4"),
    b"D": (">d", 8, ">f8"),
}
_PLAIN: dict[bytes, Any] = {b"Z": None, b"T": True, b"F": False}


def decode(raw: bytes | bytearray | memoryview) -> Any:
    """The value that `raw` holds.

    Raises:
        ValueError: it is no UBJSON, or ends too early.
    """
    try:
        return _Reader(bytes(raw)).value()
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"expected UBJSON, got bytes that cannot be read ({error!r})") from None


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def value(self) -> Any:
        return self._of(self._take(1))

    def _of(self, marker: bytes) -> Any:
        if marker in _NUMBERS:
            form, size, _ = _NUMBERS[marker]
            (number,) = struct.unpack(form, self._take(size))
            return number
        if marker == b"S":
            return self._text()
        if marker == b"C":
            return self._take(1).decode()
        if marker == b"{":
            return self._object()
        if marker == b"[":
            return self._array()
        return _PLAIN[marker]

    def _take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._raw):
            raise IndexError(f"no byte {self._at} in {len(self._raw)}")
        return self._raw[start : self._at]

    def _peek(self) -> bytes:
        return self._raw[self._at : self._at + 1]

    def _text(self) -> str:
        return self._take(int(self.value())).decode()

    def _header(self) -> tuple[bytes, int | None]:
        """Type and count of a container, where they are given."""
        marker = b""
        if self._peek() == b"$":
            self._take(1)
            marker = self._take(1)
        if self._peek() != b"#":
            return marker, None
        self._take(1)
        return marker, int(self.value())

    def _object(self) -> dict[str, Any]:
        marker, count = self._header()
        found: dict[str, Any] = {}
        while (len(found) < count) if count is not None else (self._peek() != b"}"):
            name = self._text()
            found[name] = self._of(marker) if marker else self.value()
        if count is None:
            self._take(1)
        return found

    def _array(self) -> Any:
        marker, count = self._header()
        if marker in _NUMBERS and count is not None:
            _, size, dtype = _NUMBERS[marker]
            start = self._at
            self._take(size * count)
            return np.frombuffer(self._raw, dtype, count, start)
        if count is not None:
            return [self._of(marker) if marker else self.value() for _ in range(count)]
        found: list[Any] = []
        while self._peek() != b"]":
            found.append(self.value())
        self._take(1)
        return found
