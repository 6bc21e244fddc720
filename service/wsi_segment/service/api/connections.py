"""Connections on which no request is in progress: closed after a while, and the oldest where they are too many.

Whoever holds connections open, with a head that never ends or none at all, takes nothing from those that send requests.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass

HEAD_SECONDS = 10.0
"""Time for the whole head of a request, from the connection on or from the answer before it."""
MOST_IDLE = 1000
MOST_PER_ADDRESS = 500
"""A viewer opens six; trusted proxies, which hold connections for many, may have any number of the above."""
_GRACE_SECONDS = 1.0
"""A connection is that old before it is closed for others: the request may be on its way."""
_MOST_FILES = 65_536

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Idle:
    address: str
    since: float
    close: Callable[[], None]
    timer: asyncio.TimerHandle


class Connections:
    """The idle connections of one server; lives in its event loop."""

    def __init__(
        self, trusted: Container[str], most: int = MOST_IDLE, most_per_address: int = MOST_PER_ADDRESS
    ) -> None:
        """Set the limits.

        Args:
            trusted: Addresses of proxies, for which the limit per address does not hold.
            most: Idle connections in all.
            most_per_address: Idle connections of one address.
        """
        self._trusted, self._most, self._most_per_address = trusted, most, most_per_address
        self._idle: dict[object, _Idle] = {}
        self._by_address: Counter[str] = Counter()
        self._sweep: asyncio.TimerHandle | None = None
        self._crowded = False

    def wait_for_head(self, connection: object, address: str, close: Callable[[], None]) -> None:
        """Count a connection as idle from now on, until :meth:`forget`; ``close`` is called when its time is over."""
        self.forget(connection)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(HEAD_SECONDS, self._end, connection)
        self._idle[connection] = _Idle(address, time.monotonic(), close, timer)
        self._by_address[address] += 1
        if self._sweep is None and self._too_many(address):
            self._sweep = loop.call_later(_GRACE_SECONDS, self._close_oldest)

    def forget(self, connection: object) -> None:
        """Count a connection no more: its request came, or it was closed."""
        idle = self._idle.pop(connection, None)
        if idle is not None:
            idle.timer.cancel()
            self._by_address[idle.address] -= 1
            if not self._by_address[idle.address]:
                del self._by_address[idle.address]

    def _too_many(self, address: str) -> bool:
        crowd = self._by_address[address] > self._most_per_address and address not in self._trusted
        return crowd or len(self._idle) > self._most

    def _end(self, connection: object) -> None:
        idle = self._idle.get(connection)
        self.forget(connection)
        if idle is not None:
            idle.close()

    def _close_oldest(self) -> None:
        self._sweep = None
        old = time.monotonic() - _GRACE_SECONDS
        crowded = False
        for connection, idle in list(self._idle.items()):  # the oldest first
            if self._too_many(idle.address):
                crowded = True
                if idle.since <= old:
                    self._end(connection)
        if crowded != self._crowded:
            self._crowded = crowded
            if crowded:
                log.warning("too many connections wait without a request; the oldest are closed until there are fewer")
            else:
                log.info("there are few idle connections again")
        if crowded:
            self._sweep = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._close_oldest)


def raise_file_limit() -> int:
    """Let this process open as many files and connections as the system allows it to; return how many."""
    if sys.platform == "win32":
        return _MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else _MOST_FILES
