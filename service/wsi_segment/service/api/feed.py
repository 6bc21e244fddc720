"""Events for many listeners: the table is read once for all of them, and by each only for what it missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from wsi_segment.service.jobs.database import Database, is_away
from wsi_segment.service.jobs.events import LAST_KINDS, Event, last_number, read_events

POLL_SECONDS = 0.25
_AWAY_SECONDS = 1.0
_MOST_WAITING = 10_000
"""A listener this far behind is cut off; it reconnects with the number of its last event."""
_PAGE = 1000

log = logging.getLogger(__name__)


class Listener:
    """One stream: its job or batch, and the events that wait for it."""

    def __init__(self, job: str | None, batch: str | None) -> None:
        self.job, self.batch = job, batch
        self.events: asyncio.Queue[Event | None] = asyncio.Queue(_MOST_WAITING)

    def wants(self, event: Event) -> bool:
        """Return whether an event is about that job or batch."""
        return (self.job is None or event.job == self.job) and (self.batch is None or event.batch == self.batch)

    def put(self, event: Event | None) -> bool:
        """Queue an event, or None for the end; return False where too many wait."""
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True


class Feed:
    """Passes on new events of the table; lives in the server's event loop."""

    def __init__(self, database: Database, note_end: Callable[[Event], None] = lambda event: None) -> None:
        """Prepare; see :meth:`run`.

        Args:
            database: Where the events are.
            note_end: Called in a thread for each event that may be a job's last.
        """
        self._database, self._on_end = database, note_end
        self._listeners: set[Listener] = set()
        self._closed = False
        self._started = asyncio.Event()

    @property
    def listeners(self) -> int:
        """Number of open streams."""
        return len(self._listeners)

    async def _note_end(self, event: Event) -> None:
        """Take note of an end of a job; when the database is back, if it is away."""
        while not self._closed:
            try:
                await asyncio.to_thread(self._on_end, event)
            except Exception as error:  # taking note must not keep further events from those who listen
                if is_away(error):
                    await asyncio.sleep(_AWAY_SECONDS)
                    continue
                log.exception("the end of a job could not be noted", extra={"job": event.job})
            return

    async def run(self) -> None:
        """Read the table until the server ends."""
        last: int | None = None
        while not self._closed:
            try:
                if last is None:
                    last = await asyncio.to_thread(last_number, self._database)
                    self._started.set()
                await asyncio.sleep(POLL_SECONDS)
                found = await asyncio.to_thread(read_events, self._database, last)
            except Exception as error:  # the feed outlives a database that is away
                if not is_away(error):
                    log.exception("events cannot be read; it is tried again")
                await asyncio.sleep(_AWAY_SECONDS)
                continue
            for event in found:
                last = event.number
                for listener in list(self._listeners):
                    if listener.wants(event) and not listener.put(event):
                        self._listeners.discard(listener)
                if event.kind in LAST_KINDS:
                    await self._note_end(event)

    def close(self) -> None:
        """End all streams; safe from a signal handler of the event loop."""
        self._closed = True
        self._started.set()
        for listener in list(self._listeners):
            listener.put(None)

    async def follow(self, listener: Listener, after: int) -> AsyncIterator[Event]:
        """Iterate over all events after a number, those of the past first, until the server ends."""
        await self._started.wait()  # events from here on are passed on
        job, batch = listener.job, listener.batch
        while page := await asyncio.to_thread(read_events, self._database, after, job, batch, _PAGE):
            for event in page:
                after = event.number
                yield event
        while not self._closed and (listener in self._listeners or not listener.events.empty()):
            event_or_end = await listener.events.get()
            if event_or_end is None:
                return
            if event_or_end.number > after:  # what came between listening and reading was sent already
                yield event_or_end

    @contextmanager
    def listening(self, job: str | None = None, batch: str | None = None) -> Iterator[Listener]:
        """Listen for as long as the context lasts: a route has it as a dependency, which ends with the request.

        The generator of :meth:`follow` would not do: when suspended, it lives on until it is collected.
        """
        listener = Listener(job, batch)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
