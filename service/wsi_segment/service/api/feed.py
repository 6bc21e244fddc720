"""Events to many listeners: the table is read once for all, and by each only for what it missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import Event, last_number, read_events

POLL_SECONDS = 0.25
_MOST_WAITING = 10_000
"""A listener so far behind is cut off; it comes again with the number of its last event."""
_PAGE = 1000

log = logging.getLogger(__name__)


class Listener:
    """One stream: what it is about, and the events that wait for it."""

    def __init__(self, job: str | None, batch: str | None) -> None:
        self.job, self.batch = job, batch
        self.events: asyncio.Queue[Event | None] = asyncio.Queue(_MOST_WAITING)

    def wants(self, event: Event) -> bool:
        """Whether an event is about that."""
        return (self.job is None or event.job == self.job) and (self.batch is None or event.batch == self.batch)

    def put(self, event: Event | None) -> bool:
        """Have an event wait, or None for the end; False where too many wait."""
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True


class Feed:
    """Passes new events of the table on; lives in the server's event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._closed = False
        self._begun = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def run(self) -> None:
        """Read the table until the server ends."""
        last: int | None = None
        while not self._closed:
            try:
                if last is None:
                    last = await asyncio.to_thread(last_number, self._database)
                    self._begun.set()
                await asyncio.sleep(POLL_SECONDS)
                found = await asyncio.to_thread(read_events, self._database, last)
            except Exception:
                log.exception("events cannot be read; it is tried again")
                await asyncio.sleep(POLL_SECONDS)
                continue
            for event in found:
                last = event.number
                for listener in list(self._listeners):
                    if listener.wants(event) and not listener.put(event):
                        self._listeners.discard(listener)

    def close(self) -> None:
        """End all streams; safe from a signal handler of the event loop."""
        self._closed = True
        self._begun.set()
        for listener in list(self._listeners):
            listener.put(None)

    async def follow(self, listener: Listener, after: int) -> AsyncIterator[Event]:
        """All events with larger numbers, those of the past first; ends when the server ends."""
        await self._begun.wait()  # what comes from here on is passed on
        job, batch = listener.job, listener.batch
        while page := await asyncio.to_thread(read_events, self._database, after, job, batch, _PAGE):
            for event in page:
                after = event.number
                yield event
        while not self._closed and (listener in self._listeners or not listener.events.empty()):
            event_or_end = await listener.events.get()
            if event_or_end is None:
                return
            if event_or_end.number > after:  # what came between listening and reading is known already
                yield event_or_end

    @contextmanager
    def listening(self, job: str | None = None, batch: str | None = None) -> Iterator[Listener]:
        """A listener for as long as this lasts: a route has it as a dependency, which ends with the request.

        The generator of :meth:`follow` may not end with it: one that is suspended lives on until it is collected.
        """
        listener = Listener(job, batch)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
