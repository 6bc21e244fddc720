"""What the processor can do that decides in which precision a network is fast."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avxvnni", "asimddp"})
"""Names in Linux's cpuinfo of instructions that multiply bytes and add up in 32 bits: VNNI of x86, dotprod of ARM."""
_ARM_DOT_PRODUCTS_ON_WINDOWS = 43
"""PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE in winnt.h."""


@functools.cache
def multiplies_bytes() -> bool | None:
    """Return whether the processor multiplies bytes and adds up in 32 bits (VNNI, dotprod); None for unknown.

    Linux lists it in ``/proc/cpuinfo``; Apple's own processors all have it (ARMv8.4 and later); Windows reports them on
    ARM. On x86, neither Windows nor macOS reports them without native code.
    """
    if sys.platform == "linux":
        try:
            return not _DOT_PRODUCTS.isdisjoint(_CPUINFO.read_text(encoding="utf-8", errors="replace").split())
        except OSError:
            return None
    arm = platform.machine().lower() in ("arm64", "aarch64")
    if sys.platform == "win32" and arm:
        return bool(ctypes.WinDLL("kernel32").IsProcessorFeaturePresent(_ARM_DOT_PRODUCTS_ON_WINDOWS))
    return True if sys.platform == "darwin" and arm else None
