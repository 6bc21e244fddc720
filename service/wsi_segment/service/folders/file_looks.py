"""Looks at files that may never answer, as on a share whose server is gone: in threads with a deadline."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

LOOK_SECONDS = 5.0
_MOST = 8
"""Looks at one place at a time; those that hang are among them."""


class HangsError(Exception):
    """A folder does not answer."""


def hash_of_states(states: Sequence[os.stat_result | None]) -> str:
    """Hash the states of files, None for a missing one.

    A file that another one replaced has another inode or another time of change.
    """
    seen = [one and (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in states]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


class FileLooks:
    """Calls functions that look at files, a few at a time for each place.

    A system call that hangs cannot be ended. Its thread is left behind, at most ``_MOST`` of a place; while one hangs,
    further looks at that place are refused at once, so that they hold nobody up.
    """

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: dict[str, dict[object, float]] = defaultdict(dict)
        """When the looks that run began, by place."""
        self._free: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(_MOST))

    def call(self, place: str, function: Callable[..., Any], *arguments: Any, seconds: float | None = None) -> Any:
        """Call a function in a thread, and wait for what it returns or raises.

        Args:
            place: What hangs together: the name of a root.
            function: Looks at files of that place.
            arguments: Passed on.
            seconds: Deadline, where it is not the usual one.

        Raises:
            HangsError: it did not answer in time, or another look at the place hangs.
        """
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            free, running = self._free[place], self._since[place]
            hangs = any(time.monotonic() > until for until in running.values())
        if hangs or not free.acquire(timeout=limit):
            raise HangsError(place)
        token, done, outcome = object(), threading.Event(), {}
        with self._lock:
            running[token] = time.monotonic() + limit

        def look() -> None:
            try:
                outcome["value"] = function(*arguments)
            except BaseException as error:  # raised again for the caller, whatever it is
                outcome["error"] = error
            finally:
                with self._lock:
                    del running[token]
                free.release()
                done.set()

        threading.Thread(target=look, name=f"look at {place}", daemon=True).start()
        if not done.wait(limit):
            raise HangsError(place)
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]
