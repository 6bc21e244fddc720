"""Settings of zarr: those that it is shipped with, whatever a user has set for other work.

zarr reads its settings from the environment, from files and from ``zarr.config``, whenever arrays are opened, written
or read. A user's ``array.write_empty_chunks``, ``array.read_missing_chunks``, ``json_indent`` or codec pipeline would
change the bytes of a mask, or make ``verify`` report damage where there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import zarr

from wsi_segment.errors import RunError

_OWN_TO_THE_MACHINE = ("async", "threading")
"""How much is done at once, and how long is waited: this changes no content, and is left to the user."""

_lock = threading.Lock()
_active = 0
_restore = ExitStack()


@contextmanager
def shipped_settings() -> Iterator[None]:
    """Run a block, or each call of a decorated function, with the settings that zarr is shipped with.

    Settings belong to the process: the first of the threads inside sets them, the last one to leave restores what was
    there. User code that uses zarr in another thread during that time sees the shipped settings too.

    >>> import zarr
    >>> with zarr.config.set({"array.write_empty_chunks": True}):
    ...     with shipped_settings():
    ...         inside = zarr.config.get("array.write_empty_chunks")
    ...     inside, zarr.config.get("array.write_empty_chunks")
    (False, True)

    Raises:
        RunError: Python leaves assertions out, in which zarr 3.1 does some of its work.
    """
    global _active
    if not __debug__:
        raise RunError(
            "Python runs with -O (PYTHONOPTIMIZE), under which zarr cannot read its own groups; start it without"
        )
    with _lock:
        if not _active:
            shipped: dict[str, Any] = {}
            for defaults in zarr.config.defaults:
                shipped |= {key: value for key, value in defaults.items() if key not in _OWN_TO_THE_MACHINE}
            _restore.enter_context(zarr.config.set(deepcopy(shipped)))
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if not _active:
                _restore.close()
