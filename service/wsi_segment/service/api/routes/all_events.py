"""Events of all jobs in one stream, for a page that lists many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.event_stream import LastEventId, as_sent
from wsi_segment.service.api.feed import Listener
from wsi_segment.service.api.problems import documented
from wsi_segment.service.api.service import Here
from wsi_segment.service.jobs.events import last_number

router = APIRouter(prefix="/v1", tags=["jobs"], responses=documented())


async def all_listener(service: Here) -> AsyncIterator[Listener]:
    """Listen to all jobs."""
    with service.feed.listening() as listener:
        yield listener


@router.get("/events", response_class=EventSourceResponse)
async def follow_all(
    service: Here,
    listener: Annotated[Listener, Depends(all_listener)],
    last_event_id: LastEventId = "",
) -> AsyncIterator[ServerSentEvent]:
    """Follow all jobs that the client may see, from now on or from after ``Last-Event-ID``, until the client leaves.

    The first event is ``now``, with the number of the last one before it.
    """
    sees = present_caller().sees
    last = int(last_event_id) if last_event_id else await anyio.to_thread.run_sync(last_number, service.database)
    yield ServerSentEvent(raw_data=json.dumps({"kind": "now"}), event="now", id=str(last))
    visible: dict[str, bool] = {}
    async for event in service.feed.follow(listener, last):
        if sees is not None and event.job not in visible:
            job = await anyio.to_thread.run_sync(service.jobs.get, event.job)
            visible[event.job] = job is not None and job.client in sees
        if sees is None or visible[event.job]:
            yield as_sent(event)
