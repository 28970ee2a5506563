"""FlatBuffers, as CatBoost writes them: arrays become numpy arrays without a copy.

Little-endian (flatbuffers.dev, "Internals"). A table begins with the distance back to a list of
slots, which says where each field lies in it; an absent field has 0 there or no slot at all.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_SIGNED, _UNSIGNED, _SHORT = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<H")


class Table:
    """One table. Its methods take the number of a field in the schema and raise ValueError."""

    def __init__(self, raw: bytes | memoryview, at: int) -> None:
        self._raw = raw
        self._at = at
        self._slots = at - self._read(_SIGNED, at)
        self._size = self._read(_SHORT, self._slots)

    @classmethod
    def root(cls, raw: bytes | memoryview) -> Table:
        """The outermost table of a buffer."""
        try:
            return cls(raw, _UNSIGNED.unpack_from(raw, 0)[0])
        except struct.error as error:
            raise ValueError(f"expected a flatbuffer, got {len(raw)} bytes ({error})") from None

    def number(self, slot: int, form: str, default: float) -> float:
        """A scalar of a `struct` format such as `<d`."""
        place = self._place(slot)
        return default if place is None else self._read(struct.Struct(form), place)

    def array(self, slot: int, dtype: Any) -> Any:
        """A vector of numbers or structs `[n]`; empty when absent."""
        begin, count = self._vector(slot)
        try:
            return np.frombuffer(self._raw, dtype, count, begin)
        except ValueError:
            raise ValueError(f"expected {count} items of field {slot}, got fewer") from None

    def table(self, slot: int) -> Table | None:
        """A table within this one."""
        place = self._place(slot)
        return None if place is None else Table(self._raw, self._follow(place))

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty when absent."""
        begin, count = self._vector(slot)
        return [Table(self._raw, self._follow(begin + 4 * item)) for item in range(count)]

    def _place(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry >= self._size:
            return None
        offset = self._read(_SHORT, self._slots + entry)
        return self._at + offset if offset else None

    def _vector(self, slot: int) -> tuple[int, int]:
        place = self._place(slot)
        if place is None:
            return 0, 0
        begin = self._follow(place)
        return begin + 4, self._read(_UNSIGNED, begin)

    def _follow(self, place: int) -> int:
        return place + self._read(_UNSIGNED, place)

    def _read(self, form: struct.Struct, at: int) -> Any:
        if not 0 <= at <= len(self._raw) - form.size:
            raise ValueError(f"expected a flatbuffer, got no byte {at} in {len(self._raw)}")
        return form.unpack_from(self._raw, at)[0]
