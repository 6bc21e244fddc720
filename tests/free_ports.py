"""Ports for the servers that tests start."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

_FIRST, _END = 12_000, 32_000
"""Below the ports that a system gives to connections by itself."""
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that no other test has, also of those that run beside.

    Whoever gets it listens on it only later, and may stop and start again: until then nothing shows that it is taken.
    """
    beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % beside
    while True:
        port = random.SystemRandom().randrange(_FIRST + number, _END, beside)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
