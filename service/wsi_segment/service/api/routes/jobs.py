"""Jobs: post, list, look, cancel, try again, follow."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.exc import IntegrityError

from wsi_segment.service.api.feed import Listener
from wsi_segment.service.api.paging import PageSize, PageToken, token_of
from wsi_segment.service.api.problems import ProblemError, created, documented, link
from wsi_segment.service.api.requests import Id, JobRequest
from wsi_segment.service.api.responses import JobList, JobOut, job_out
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.jobs.events import LAST_KINDS, Event, read_events
from wsi_segment.service.jobs.job_table import ENDED, Accepted, Job, Reply, Status, Wanted
from wsi_segment.service.workers.slide_catalogue import FoundSlide

router = APIRouter(prefix="/v1", tags=["jobs"], responses=documented())

JobId = Annotated[Id, Path(alias="job_id")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="the same key with the same body gives the first answer again, and no second job",
    ),
]
LastEventId = Annotated[
    str, Header(pattern=r"^[0-9]{0,15}$", description="number of the last event that was seen; empty for none")
]


@router.post(
    "/jobs",
    status_code=201,
    response_model=JobOut,
    responses=created(
        404,
        409,
        503,
        look=link("get", "/v1/jobs/{job_id}"),
        cancel=link("delete", "/v1/jobs/{job_id}"),
        retry=link("post", "/v1/jobs/{job_id}/retry"),
        results=link("get", "/v1/jobs/{job_id}/results"),
    ),
)
def post_job(service: Here, request: Request, wanted: JobRequest, idempotency_key: IdempotencyKey = None) -> Response:
    """Have a slide segmented."""
    found: list[FoundSlide] = []

    def accept(reply: Callable[[Accepted], Reply] | None) -> Accepted:
        slide = service.catalogue.by_id(wanted.slide)
        found.append(slide)
        service.models.get(wanted.model)
        described = service.describe(slide)
        _check_size(wanted, described)
        return service.jobs.accept([Wanted(slide.id, wanted.parameters(), wanted.priority)], reply=reply)

    def body(accepted: Accepted) -> tuple[str, bytes]:
        job = accepted.jobs[0]
        return f"/v1/jobs/{job.id}", job_out(job, found[-1].name).model_dump_json().encode()

    return answer_once(service, request, idempotency_key, wanted.model_dump_json().encode(), accept, body)


def answer_once(
    service: Service,
    request: Request,
    key: str | None,
    content: bytes,
    accept: Callable[[Callable[[Accepted], Reply] | None], Accepted],
    body: Callable[[Accepted], tuple[str, bytes]],
) -> Response:
    """Accept jobs and answer 201; a request with a key that was answered gets that answer again.

    Args:
        service: Of the route.
        request: Whose client and path the key belongs to.
        key: The Idempotency-Key, or None.
        content: What must be the same for the same key.
        accept: Puts jobs into the queue, together with the reply that it is given a maker of.
        body: Location and body of the answer.
    """
    name = None if key is None else f"{request.state.client} {request.url.path} {key}"
    digest = hashlib.sha256(content).hexdigest()

    def reply(accepted: Accepted) -> Reply:
        location, made = body(accepted)
        return Reply(name or "", digest, time.time(), 201, {"Location": location}, made)

    known = None if name is None else service.jobs.reply_to(name)
    if known is None:
        try:
            accepted = accept(None if name is None else reply)
            service.supervisor.wake()
            made = reply(accepted)
            return Response(made.body, 201, made.headers, "application/json")
        except IntegrityError:
            known = None if name is None else service.jobs.reply_to(name)
            if known is None:
                raise
    if known.request != digest:
        raise ProblemError(422, "key-reused", "this Idempotency-Key was used with another body; choose a new one")
    return Response(known.body, known.status, known.headers, "application/json")


def _check_size(wanted: JobRequest, described: dict[str, Any]) -> None:
    if wanted.mpp is None and described["mpp"] is None:
        raise ProblemError(422, "no-pixel-size", "the slide does not state its pixel size; give mpp (µm per pixel)")
    for name in ("width", "height"):
        seen = getattr(wanted, name)
        if seen is not None and seen != described[name]:
            raise ProblemError(
                409,
                "size-mismatch",
                f"the slide is {described['width']} x {described['height']} px here and the {name} is {seen} there; "
                "rotated, cropped or other images do not match",
            )


@router.get("/jobs", response_model=JobList)
def list_jobs(
    service: Here,
    page_size: PageSize = 50,
    page_token: PageToken = "",
    status: Annotated[Status | None, Query(description="only those")] = None,
    batch: Annotated[Id | None, Query(description="only those of a batch")] = None,
) -> JobList:
    """Jobs, the newest first."""
    found = service.jobs.listed(token_of(page_token), page_size + 1, status, batch)
    page = found[:page_size]
    token = str(page[-1].number) if len(found) > page_size else ""
    return JobList(jobs=_shown(service, page), next_page_token=token)


@router.get("/jobs/{job_id}", response_model=JobOut, responses=documented(404))
def get_job(service: Here, job_id: JobId) -> JobOut:
    """A job."""
    return _shown(service, [service.job(job_id)])[0]


@router.delete("/jobs/{job_id}", response_model=JobOut, responses=documented(404))
def cancel_job(service: Here, job_id: JobId) -> JobOut:
    """Cancel a job: one that waits is dismissed at once, one that runs soon; one that ended stays as it is."""
    service.job(job_id)
    service.jobs.cancel(job_id)
    return _shown(service, [service.job(job_id)])[0]


@router.post("/jobs/{job_id}/retry", response_model=JobOut, responses=documented(404, 409))
def retry_job(service: Here, job_id: JobId) -> JobOut:
    """Put a failed or dismissed job into the queue again; what was finished of it is kept."""
    status = service.job(job_id).status
    if not service.jobs.retry(job_id):
        raise ProblemError(409, "not-ended", f"the job is {status}; only failed and dismissed ones are tried again")
    service.supervisor.wake()
    return _shown(service, [service.job(job_id)])[0]


def _shown(service: Service, found: Sequence[Job]) -> list[JobOut]:
    names = service.catalogue.names({job.slide for job in found})
    return [job_out(job, names.get(job.slide)) for job in found]


async def job_listener(service: Here, job_id: JobId) -> AsyncIterator[Listener]:
    """A listener to a job that there is."""
    await anyio.to_thread.run_sync(service.job, job_id)
    with service.feed.listening(job=job_id) as listener:
        yield listener


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, responses=documented(404))
async def follow_job(
    service: Here,
    job_id: JobId,
    listener: Annotated[Listener, Depends(job_listener)],
    last_event_id: LastEventId = "",
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a job, from its beginning or after ``Last-Event-ID``; ends with the job."""
    after = int(last_event_id or 0)
    if await anyio.to_thread.run_sync(_is_over, service, job_id, after):
        return
    async for event in service.feed.follow(listener, after):
        yield as_sent(event)
        if event.kind in LAST_KINDS and await anyio.to_thread.run_sync(_is_over, service, job_id, event.number):
            return


def _is_over(service: Service, job_id: str, seen: int) -> bool:
    """Whether a job has ended and all its events were seen."""
    return service.job(job_id).status in ENDED and not read_events(service.database, seen, job=job_id, limit=1)


def as_sent(event: Event) -> ServerSentEvent:
    """An event on the wire."""
    data = {"job": event.job, "batch": event.batch, "time": event.time, "kind": event.kind, **event.data}
    return ServerSentEvent(raw_data=json.dumps(data), event=event.kind, id=str(event.number))
