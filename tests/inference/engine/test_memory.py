from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, threading
from wsi_segment.inference.engine.memory import return_freed_memory

glibc = ctypes.CDLL(None)
return_freed_memory()
gate, kept = threading.Barrier(4), []
glibc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(glibc.fdopen(1, b"w"))
glibc.malloc_info(0, out)

def allocate():
    gate.wait()
    kept.extend(bytes(100_000) for _ in range(50))

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
glibc.malloc_info(0, out)
glibc.fflush(out)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="heaps of threads are glibc's")
def test_threads_share_one_heap_so_that_each_uses_what_others_freed() -> None:
    described = subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True).stdout
    if "<malloc" not in described:
        pytest.skip("another allocator than glibc's")
    before, after = described.removesuffix("</malloc>\n").split("</malloc>")
    assert after.count("<heap ") == before.count("<heap ")
