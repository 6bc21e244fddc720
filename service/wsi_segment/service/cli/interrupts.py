"""What Ctrl-C and SIGTERM do: the first ends the command in order, the second at once; both with exit code 130."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 130
_SAME_SECONDS = 0.2
"""Signals so close together are one: ``timeout`` and job schedulers send theirs to a process and to its group."""
_SHOW_CURSOR = "\x1b[?25h"


class _Interrupts:
    """Counts signals; stays in place after the first, since Python takes a while to end, and a second may come then."""

    def __init__(self, message: str) -> None:
        self._message = message
        self.first: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = now
            raise KeyboardInterrupt
        if now - self.first >= _SAME_SECONDS:
            self._leave()

    def _leave(self) -> None:
        """End at once: locks go with the process, and what is finished is on the disk already."""
        cursor = _SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else ""
        try:
            os.write(2, f"{cursor}{self._message}\n".encode())  # a signal may come while standard error is written to
        finally:
            os._exit(EXIT_INTERRUPTED)


@functools.cache
def _keep_the_exit_code() -> None:
    """Have signals ignored once Python is about to give them their defaults back, by which they would end it otherwise.

    What is left then takes some tenths of a second, and the exit code is decided.
    """
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)])


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and end the process at the second, whatever it does.

    Args:
        message: A line for standard error where there is no time for another.
    """
    if threading.current_thread() is not threading.main_thread():  # which cannot set handlers
        yield
        return
    _keep_the_exit_code()
    interrupts = _Interrupts(message)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:  # a shell has its background jobs ignore Ctrl-C
        signal.signal(number, interrupts)
    try:
        yield
    finally:
        if interrupts.first is None:
            for number in heeded:
                signal.signal(number, before[number] or signal.SIG_DFL)
