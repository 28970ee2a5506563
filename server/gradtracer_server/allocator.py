"""Tells glibc's allocator to give back what the server's threads and long texts took."""

from __future__ import annotations

import sys

_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
"""Numbers of the options in `malloc.h`, the same on every machine."""

_LARGE_BYTES = 64 * 1024
"""What is larger is a text or its lines, made anew by each edit: it gets pages of its own."""
_TRIM_BYTES = 128 * 1024


def give_memory_back() -> bool:
    """One arena for all threads, and free pages returned; False where the C library has no such.

    A thread's own arena keeps the holes that the events of a run leave in it, and glibc raises its
    two limits by itself with what was freed: it then keeps megabytes for the next such text.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    options = {
        _ARENA_MAX: 1,
        _MMAP_THRESHOLD: _LARGE_BYTES,
        _TRIM_THRESHOLD: _TRIM_BYTES,
    }
    return sum(set_option(*option) for option in options.items()) == len(options)
