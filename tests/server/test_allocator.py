"""The allocator's settings: threads share one arena."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from patience import PATIENCE

ARENAS = """
import ctypes, sys, threading
if sys.argv[1] == "give-back":
    from gradtracer_server.allocator import give_memory_back
    assert give_memory_back()
taken, enough = threading.Barrier(5), threading.Event()
def take():
    kept = [bytearray(5_000) for _ in range(100)]
    taken.wait()
    enough.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
taken.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
assert libc.malloc_info(0, file) == 0
libc.fclose(file)
enough.set()
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="arenas are those of glibc"
)


@pytest.mark.parametrize(("how", "alone"), [("give-back", True), ("as it is", False)])
def test_threads_share_one_arena(
    tmp_path_factory: pytest.TempPathFactory, how: str, alone: bool
) -> None:
    told = tmp_path_factory.mktemp("arenas") / "malloc.xml"
    subprocess.run([sys.executable, "-c", ARENAS, how, str(told)], check=True, timeout=PATIENCE)
    arenas = told.read_text(encoding="utf-8").count("<heap nr=")
    assert (arenas == 1) == alone, arenas
