"""Requests for pixels wait in a line of their own, so that they hold up nothing else and are served as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

from wsi_segment.service.workers.slide_pool import BusyError

AT_ONCE = 12
"""Threads of the server that wait for the processes that decode; the rest serve what needs no pixels."""
MOST_WAITING = 2000
WAIT_SECONDS = 30.0
"""A viewer that zooms on has forgotten a tile by then."""


class TileLine:
    """The line of one server; lives in its event loop."""

    def __init__(self) -> None:
        self._places = anyio.CapacityLimiter(AT_ONCE)

    @property
    def waiting(self) -> int:
        """Number of requests in the line."""
        return self._places.statistics().tasks_waiting

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a thread when it is its turn.

        Raises:
            BusyError: too many wait, or its turn did not come in time.
        """
        if self.waiting >= MOST_WAITING:
            raise BusyError("too many requests wait for pixels; try again in a moment")
        with anyio.move_on_after(WAIT_SECONDS):  # once it has a thread, it ends in its own time
            return await anyio.to_thread.run_sync(function, *arguments, limiter=self._places)
        raise BusyError("the server is busy with pixels for others; try again in a moment")
