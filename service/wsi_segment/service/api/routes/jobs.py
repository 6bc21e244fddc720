"""Jobs: post, list, look, cancel, try again, follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from wsi_segment.errors import InputError
from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.aside import read_aside
from wsi_segment.service.api.bodies.requests import Id, JobRequest
from wsi_segment.service.api.bodies.sent_jobs import read_job
from wsi_segment.service.api.event_stream import LastEventId, stream_events
from wsi_segment.service.api.feed import Listener
from wsi_segment.service.api.idempotency import IdempotencyKey, JobPost
from wsi_segment.service.api.paging import PageSize, PageToken, token_of
from wsi_segment.service.api.problems import (
    NothingMoreError,
    ProblemError,
    created,
    documented,
    followed,
    link,
    media_type,
)
from wsi_segment.service.api.responses import JobList, JobOut, Outlook, job_out
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import ENDED, Accepted, Job, NewJob, Status
from wsi_segment.service.workers.job_inputs import filled, inputs_of, windows_at_most
from wsi_segment.service.workers.slide_pool import describe

router = APIRouter(prefix="/v1", tags=["jobs"], responses=documented())

JobId = Annotated[Id, Path(alias="job_id")]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobRequest"}}},
    }
}


@router.post(
    "/jobs",
    status_code=201,
    response_model=JobOut,
    responses=created(
        404,
        409,
        415,
        503,
        look=link("get", "/v1/jobs/{job_id}"),
        cancel=link("delete", "/v1/jobs/{job_id}"),
        retry=link("post", "/v1/jobs/{job_id}/retry"),
        results=link("get", "/v1/jobs/{job_id}/results"),
    ),
    openapi_extra=_BODY,
)
async def post_job(service: Here, request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Have a slide segmented."""
    media_type(request, "a job", "application/json")
    content = await request.body()
    wanted, chosen = await read_aside(read_job, content)
    post = JobPost(service, request, idempotency_key, content)
    return await anyio.to_thread.run_sync(_accept, service, post, wanted, chosen)


def _accept(service: Service, post: JobPost, wanted: JobRequest, chosen: dict[str, Any]) -> Response:
    if (answer := post.stored_answer()) is not None:
        return answer
    slide = service.catalogue.by_id(wanted.slide)
    model = service.models.get(wanted.model)
    described = service.describe(slide) if wanted.image is None else service.look(describe, slide, wanted.image)
    _check_size(wanted, described)
    try:
        parameters = filled(chosen, model)
    except InputError as error:
        raise ProblemError(422, "impossible-parameters", str(error)) from error
    new = NewJob(
        slide=slide.id,
        parameters=parameters,
        priority=wanted.priority,
        client=present_caller().key,
        inputs=inputs_of(described["fingerprint"], slide.size if slide.files else None, described, model),
        windows=windows_at_most(described, parameters, model),
    )

    def render(accepted: Accepted) -> tuple[str, str]:
        job = accepted.jobs[0]
        return href(f"/v1/jobs/{job.id}"), job_out(job, slide.name).model_dump_json()

    return post.accept([new], render)


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
    slide: Annotated[Id | None, Query(description="only those of a slide")] = None,
) -> JobList:
    """List jobs, the newest first."""
    found = service.jobs.listed(
        token_of(page_token), page_size + 1, status, batch, slide=slide, clients=present_caller().sees
    )
    page = found[:page_size]
    token = str(page[-1].number) if len(found) > page_size else ""
    return JobList(jobs=shown_jobs(service, page), next_page_token=token)


@router.get("/jobs/{job_id}", response_model=JobOut, responses=documented(404))
def get_job(service: Here, job_id: JobId) -> JobOut:
    """Return a job."""
    return shown_jobs(service, [service.job(job_id)])[0]


@router.delete("/jobs/{job_id}", response_model=JobOut, responses=documented(404))
def cancel_job(service: Here, job_id: JobId) -> JobOut:
    """Cancel a job: one that waits is dismissed at once, one that runs soon; one that ended stays as it is."""
    service.job(job_id)
    service.jobs.cancel(job_id)
    return shown_jobs(service, [service.job(job_id)])[0]


@router.post("/jobs/{job_id}/retry", response_model=JobOut, responses=documented(404, 409))
def retry_job(service: Here, job_id: JobId) -> JobOut:
    """Put a failed or dismissed job into the queue again; what was finished of it is kept."""
    status = service.job(job_id).status
    if not service.jobs.retry(job_id):
        raise ProblemError(409, "not-ended", f"the job is {status}; only failed and dismissed ones are tried again")
    service.supervisor.wake()
    return shown_jobs(service, [service.job(job_id)])[0]


def shown_jobs(service: Service, found: Sequence[Job]) -> list[JobOut]:
    """Describe jobs for clients."""
    names = service.catalogue.names({job.slide for job in found})
    outlook = _outlook(service, [job for job in found if job.status == "accepted"])
    return [job_out(job, names.get(job.slide), outlook) for job in found]


def _outlook(service: Service, waiting: Sequence[Job]) -> Outlook:
    if not waiting:
        return Outlook()
    away = service.roots.away()
    roots = service.catalogue.roots_of({job.slide for job in waiting}) if away else {}
    return Outlook(
        service.jobs.positions(),
        service.jobs.pace(),
        service.settings.workers,
        {job.id: away[roots[job.slide]] for job in waiting if roots.get(job.slide) in away},
    )


async def job_listener(service: Here, job_id: JobId, last_event_id: LastEventId = "") -> AsyncIterator[Listener]:
    """Listen to a job, or answer 404; or 204 where it has ended and the client has seen all of it."""
    await anyio.to_thread.run_sync(service.job, job_id)
    over = await anyio.to_thread.run_sync(_is_over, service, job_id, int(last_event_id or 0))
    if last_event_id and over:
        raise NothingMoreError
    with service.feed.listening(job=job_id) as listener:
        yield listener


def _is_over(service: Service, job_id: str, seen: int) -> bool:
    ended = service.job(job_id).status in ENDED
    return ended and not read_events(service.database, seen, job=job_id, limit=1)


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, responses=followed())
async def follow_job(
    service: Here,
    job_id: JobId,
    listener: Annotated[Listener, Depends(job_listener)],
    last_event_id: LastEventId = "",
) -> AsyncIterator[ServerSentEvent]:
    """Follow a job from its start, or from after ``Last-Event-ID``, to its end."""
    is_over = partial(_is_over, service, job_id)
    async for event in stream_events(service.feed, listener, last_event_id, is_over):
        yield event
