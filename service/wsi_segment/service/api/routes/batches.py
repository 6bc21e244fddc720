"""Batches: many slides in one request, all of them or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic_core import from_json

from wsi_segment.errors import InputError
from wsi_segment.model.card import Model
from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.aside import read_aside
from wsi_segment.service.api.bodies.requests import MOST_ROWS, Id
from wsi_segment.service.api.bodies.sent_jobs import SentBatch, read_batch
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
from wsi_segment.service.api.responses import BatchList, BatchOut, batch_out
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.jobs.events import read_events
from wsi_segment.service.jobs.job_table import Accepted, Batch, NewJob
from wsi_segment.service.slide_manifest import COLUMNS, parse_manifest
from wsi_segment.service.workers.job_inputs import filled, inputs_of
from wsi_segment.service.workers.slide_catalogue import FoundSlide, UnknownSlideError
from wsi_segment.service.workers.trusted_models import UnknownModelError

router = APIRouter(prefix="/v1", tags=["batches"], responses=documented())

BatchId = Annotated[Id, Path(alias="batch_id")]
_MOST_ERRORS = 1000
_CSV = "text/csv"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/BatchRequest"}},
            _CSV: {
                "schema": {"type": "string", "description": f"columns {','.join(COLUMNS)}, all but the first optional"},
                "example": "slide,mpp,model\nslides/a.svs,,\n",
            },
        },
    }
}


@router.post(
    "/batches",
    status_code=201,
    response_model=BatchOut,
    responses=created(
        404,
        409,
        415,
        look=link("get", "/v1/batches/{batch_id}"),
        cancel=link("delete", "/v1/batches/{batch_id}"),
        retry=link("post", "/v1/batches/{batch_id}/retry"),
    ),
    openapi_extra=_BODY,
)
async def post_batch(service: Here, request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Have many slides segmented; every row is checked first, and all that is wrong comes in one answer."""
    kind = media_type(request, "a batch", "application/json", _CSV)
    content = await request.body()
    post = JobPost(service, request, idempotency_key, content)
    if (answer := await anyio.to_thread.run_sync(post.stored_answer)) is not None:
        return answer
    if kind == _CSV:
        sent = await anyio.to_thread.run_sync(_read_csv, service, content)
    else:
        sent = await read_aside(read_batch, content)

    def accept() -> Response:
        return post.accept(_checked(service, sent, request.state.client), _render, sent.name)

    return await anyio.to_thread.run_sync(accept)


def _render(accepted: Accepted) -> tuple[str, str]:
    assert accepted.batch is not None
    return href(f"/v1/batches/{accepted.batch.id}"), batch_out(accepted.batch).model_dump_json()


def _read_csv(service: Service, content: bytes) -> SentBatch:
    """Read rows of CSV, numbered from 1 without empty ones; outlines in a cell are GeoJSON, or a box in brackets."""
    try:
        manifest = parse_manifest(content, lambda slide: _is_served(service, slide))
    except InputError as error:
        raise ProblemError(422, "invalid-manifest", str(error)) from error
    if not 0 < len(manifest.rows) <= MOST_ROWS:
        detail = f"the manifest has {len(manifest.rows)} rows; give 1 to {MOST_ROWS}, and the rest in another"
        raise ProblemError(422, "invalid-manifest", detail)
    lines = {number: row.line for number, row in enumerate(manifest.rows, start=1)}
    sent = SentBatch(lines=lines, hint=manifest.hint)
    for number, row in enumerate(manifest.rows, start=1):
        given = dict(row.choices)
        problem = row.problem.lstrip(":, ")
        for name in ("region", "tissue"):
            if given.get(name, "")[:1] in ("{", "["):
                try:
                    given[name] = from_json(given[name])
                except ValueError as error:
                    problem = problem or f"column {name}: not GeoJSON ({error})"
        if problem:
            sent.errors[number] = problem
        else:
            sent.add(number, {"slide": row.slide, **given})
    return sent


def _is_served(service: Service, slide: str) -> bool:
    try:
        service.catalogue.by_path(slide)
    except UnknownSlideError:
        return False
    return True


def _checked(service: Service, sent: SentBatch, client: str) -> list[NewJob]:
    """Check every row against roots and models, and note their inputs; slides are not opened: that is for workers."""
    found: dict[int, FoundSlide] = {}
    models: dict[str | None, Model] = {}
    parameters: dict[int, dict[str, Any]] = {}
    unknown = {}
    for number, (row, chosen) in sent.rows.items():
        try:
            slide = _find(service, row.slide)
            if row.model not in models:
                models[row.model] = service.models.get(row.model)
            parameters[number] = filled(chosen, models[row.model])
            found[number] = slide
        except (UnknownSlideError, UnknownModelError) as error:
            unknown[number] = str(error) + ("" if row.slide.isascii() else sent.hint)
        except InputError as error:  # of this model's windows
            sent.errors[number] = str(error)
    prints = {} if sent.errors or unknown else service.fingerprints(list(found.values()))
    new = []
    for number, slide in found.items():
        if prints.get(slide.id) is None:
            if prints:
                unknown[number] = "the slide cannot be read"
            continue
        row, _ = sent.rows[number]
        inputs = inputs_of(str(prints[slide.id]), slide.size if slide.files else None, None, models[row.model])
        new.append(
            NewJob(
                slide=slide.id,
                parameters=parameters[number],
                priority=row.priority,
                client=client,
                inputs=inputs,
            )
        )
    if errors := sent.errors | unknown:
        listed = [
            {"row": number, "detail": errors[number]} | ({"line": sent.lines[number]} if number in sent.lines else {})
            for number in sorted(errors)
        ]
        first = listed[0]
        place = f"line {first['line']}" if "line" in first else f"row {first['row']}"
        detail = f"{len(listed)} rows are wrong, nothing was accepted; {place}: {first['detail']}"
        status, kind = (422, "invalid-manifest") if sent.errors else (404, "unknown-rows")
        raise ProblemError(status, kind, detail, errors=listed[:_MOST_ERRORS])
    service.catalogue.remember(list(found.values()))
    return new


def _find(service: Service, text: str) -> FoundSlide:
    is_id = len(text) == 24 and set(text) <= set("0123456789abcdef")
    return service.catalogue.by_id(text) if is_id else service.catalogue.by_path(text)


@router.get("/batches", response_model=BatchList)
def list_batches(service: Here, page_size: PageSize = 50, page_token: PageToken = "") -> BatchList:
    """List batches, the newest first."""
    found = service.jobs.listed_batches(token_of(page_token), page_size + 1, present_caller().sees)
    page = found[:page_size]
    token = str(page[-1].number) if len(found) > page_size else ""
    return BatchList(batches=[batch_out(batch) for batch in page], next_page_token=token)


@router.get("/batches/{batch_id}", response_model=BatchOut, responses=documented(404))
def get_batch(service: Here, batch_id: BatchId) -> BatchOut:
    """Return a batch; its jobs are at ``/v1/jobs?batch=``."""
    return batch_out(_batch(service, batch_id))


@router.delete("/batches/{batch_id}", response_model=BatchOut, responses=documented(404))
def cancel_batch(service: Here, batch_id: BatchId) -> BatchOut:
    """Cancel all jobs of a batch that have not ended."""
    _batch(service, batch_id)
    service.jobs.cancel_batch(batch_id)
    return batch_out(_batch(service, batch_id))


@router.post("/batches/{batch_id}/retry", response_model=BatchOut, responses=documented(404))
def retry_batch(service: Here, batch_id: BatchId) -> BatchOut:
    """Try again what failed or was dismissed in a batch."""
    _batch(service, batch_id)
    service.jobs.retry_batch(batch_id)
    service.supervisor.wake()
    return batch_out(_batch(service, batch_id))


async def batch_listener(service: Here, batch_id: BatchId, last_event_id: LastEventId = "") -> AsyncIterator[Listener]:
    """Listen to a batch, or answer 404; or 204 where it has ended and the client has seen all of it."""
    await anyio.to_thread.run_sync(_batch, service, batch_id)
    over = await anyio.to_thread.run_sync(_is_over, service, batch_id, int(last_event_id or 0))
    if last_event_id and over:
        raise NothingMoreError
    with service.feed.listening(batch=batch_id) as listener:
        yield listener


def _is_over(service: Service, batch_id: str, seen: int) -> bool:
    counts = _batch(service, batch_id).counts
    ended = not counts.get("accepted") and not counts.get("running")
    return ended and not read_events(service.database, seen, batch=batch_id, limit=1)


@router.get("/batches/{batch_id}/events", response_class=EventSourceResponse, responses=followed())
async def follow_batch(
    service: Here,
    batch_id: BatchId,
    listener: Annotated[Listener, Depends(batch_listener)],
    last_event_id: LastEventId = "",
) -> AsyncIterator[ServerSentEvent]:
    """Follow the jobs of a batch from the start, or from after ``Last-Event-ID``, to the end of the last one."""
    is_over = partial(_is_over, service, batch_id)
    async for event in stream_events(service.feed, listener, last_event_id, is_over):
        yield event


def _batch(service: Service, batch_id: str) -> Batch:
    batch, caller = service.jobs.batch(batch_id), present_caller()
    client = service.jobs.client_of(batch_id)
    if batch is None or not caller.may("read", client):
        raise ProblemError(404, "unknown-batch", f"batch {batch_id} is unknown; GET /v1/batches lists all")
    if caller.changing and not caller.may("write", client):
        raise ProblemError(403, "not-yours", f"batch {batch_id} is another's; the key lacks the scope 'write'")
    return batch
