"""Ports for the servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port that nobody listens on at present, below those that a system gives to connections by itself."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
