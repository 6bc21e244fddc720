"""Events of a job or a batch as a stream of server-sent events, from any point of its history to its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio.to_thread
from fastapi import Header
from fastapi.sse import ServerSentEvent

from wsi_segment.service.api.feed import Feed, Listener
from wsi_segment.service.jobs.events import LAST_KINDS, Event

LastEventId = Annotated[
    str, Header(pattern=r"^[0-9]{0,15}$", description="number of the last event that was seen; empty for none")
]


async def stream_events(
    feed: Feed, listener: Listener, last_event_id: str, is_over: Callable[[int], bool]
) -> AsyncIterator[ServerSentEvent]:
    """Send the events of a listener, those of the past first, until nothing more comes.

    Args:
        feed: Passes new events on.
        listener: Says which events.
        last_event_id: Number of the last event that the client has seen; empty for none.
        is_over: Returns whether all has ended and no event after a number is left; runs in a thread.
    """
    after = int(last_event_id or 0)
    if await anyio.to_thread.run_sync(is_over, after):
        return
    async for event in feed.follow(listener, after):
        yield as_sent(event)
        if event.kind in LAST_KINDS and await anyio.to_thread.run_sync(is_over, event.number):
            return


def as_sent(event: Event) -> ServerSentEvent:
    """Return an event as it is sent: its number is its id."""
    data = {"job": event.job, "batch": event.batch, "time": event.time, "kind": event.kind, **event.data}
    return ServerSentEvent(raw_data=json.dumps(data), event=event.kind, id=str(event.number))
