"""Batches: many slides in one request, all of them or none."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError

from wsi_segment.service.api.feed import Listener
from wsi_segment.service.api.job_routes import IdempotencyKey, LastEventId, answer_once, as_sent
from wsi_segment.service.api.paging import PageSize, PageToken, token_of
from wsi_segment.service.api.problems import ProblemError, created, documented, link
from wsi_segment.service.api.schemas import BatchList, BatchOut, BatchRequest, BatchRow, Id, batch_out
from wsi_segment.service.api.state import Here, Service
from wsi_segment.service.catalogue import FoundSlide, UnknownSlideError
from wsi_segment.service.events import LAST_KINDS, read_events
from wsi_segment.service.jobs import Accepted, Batch, Reply, Wanted
from wsi_segment.service.orders import COLUMNS
from wsi_segment.service.trusted_models import UnknownModelError

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
                "schema": {"type": "string", "description": f"columns {','.join(COLUMNS)}, the last two optional"},
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
    content = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", _CSV):
        raise ProblemError(415, "unsupported-media-type", f"a batch is application/json or {_CSV}")

    def handle() -> Response:
        wanted = _from_csv(content) if kind == _CSV else _from_json(content)

        def accept(reply: Callable[[Accepted], Reply] | None) -> Accepted:
            return service.jobs.accept(_checked(service, wanted.jobs), wanted.name, reply)

        return answer_once(service, request, idempotency_key, content, accept, _body)

    return await anyio.to_thread.run_sync(handle)


def _body(accepted: Accepted) -> tuple[str, bytes]:
    assert accepted.batch is not None
    return f"/v1/batches/{accepted.batch.id}", batch_out(accepted.batch).model_dump_json().encode()


def _from_json(content: bytes) -> BatchRequest:
    try:
        return BatchRequest.model_validate_json(content)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


def _from_csv(content: bytes) -> BatchRequest:
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        if "slide" not in (reader.fieldnames or ()):
            raise ProblemError(422, "invalid-manifest", f"column 'slide' is missing; columns are {','.join(COLUMNS)}")
        rows, errors = [], []
        for number, row in enumerate(reader, start=1):
            given = {name: row[name] for name in COLUMNS if row.get(name)}
            try:
                mpp = {"mpp": float(given["mpp"])} if "mpp" in given else {}
                rows.append(BatchRow.model_validate(given | mpp))
            except (ValidationError, ValueError) as error:
                errors.append(_row_error(number, _reason(error)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProblemError(422, "invalid-manifest", f"not CSV in UTF-8 ({error})") from error
    _raise(errors)
    if not rows:
        raise ProblemError(422, "invalid-manifest", "the manifest has no rows")
    return BatchRequest(jobs=rows)


def _checked(service: Service, rows: list[BatchRow]) -> list[Wanted]:
    """Every row against roots and models; slides are not opened, which their workers do."""
    wanted, found, errors = [], [], []
    for number, row in enumerate(rows, start=1):
        try:
            slide = _find(service, row.slide)
            service.models.get(row.model)
        except (UnknownSlideError, UnknownModelError) as error:
            errors.append(_row_error(number, str(error)))
            continue
        found.append(slide)
        parameters = row.model_dump(exclude_defaults=True, exclude={"slide", "priority"})
        wanted.append(Wanted(slide.id, parameters, row.priority))
    _raise(errors, 404, "unknown-rows")
    service.catalogue.remember(found)
    return wanted


def _find(service: Service, text: str) -> FoundSlide:
    is_id = len(text) == 24 and set(text) <= set("0123456789abcdef")
    return service.catalogue.by_id(text) if is_id else service.catalogue.by_path(text)


def _row_error(row: int, detail: str) -> dict[str, Any]:
    return {"row": row, "detail": detail}


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _raise(errors: list[dict[str, Any]], status: int = 422, kind: str = "invalid-manifest") -> None:
    if errors:
        detail = f"{len(errors)} rows are wrong, nothing was accepted; row {errors[0]['row']}: {errors[0]['detail']}"
        raise ProblemError(status, kind, detail, errors=errors[:_MOST_ERRORS])


@router.get("/batches", response_model=BatchList)
def list_batches(service: Here, page_size: PageSize = 50, page_token: PageToken = "") -> BatchList:
    """Batches, the newest first."""
    found = service.jobs.listed_batches(token_of(page_token), page_size + 1)
    page = found[:page_size]
    token = str(page[-1].number) if len(found) > page_size else ""
    return BatchList(batches=[batch_out(batch) for batch in page], next_page_token=token)


@router.get("/batches/{batch_id}", response_model=BatchOut, responses=documented(404))
def get_batch(service: Here, batch_id: BatchId) -> BatchOut:
    """A batch; its jobs are at ``/v1/jobs?batch=``."""
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


async def batch_listener(service: Here, batch_id: BatchId) -> AsyncIterator[Listener]:
    """A listener to a batch that there is."""
    await anyio.to_thread.run_sync(_batch, service, batch_id)
    with service.feed.listening(batch=batch_id) as listener:
        yield listener


@router.get("/batches/{batch_id}/events", response_class=EventSourceResponse, responses=documented(404))
async def follow_batch(
    service: Here,
    batch_id: BatchId,
    listener: Annotated[Listener, Depends(batch_listener)],
    last_event_id: LastEventId = "",
) -> AsyncIterator[ServerSentEvent]:
    """What happens to the jobs of a batch, from its beginning or after ``Last-Event-ID``; ends with the last one."""
    after = int(last_event_id or 0)
    if await anyio.to_thread.run_sync(_is_over, service, batch_id, after):
        return
    async for event in service.feed.follow(listener, after):
        yield as_sent(event)
        if event.kind in LAST_KINDS and await anyio.to_thread.run_sync(_is_over, service, batch_id, event.number):
            return


def _is_over(service: Service, batch_id: str, seen: int) -> bool:
    counts = _batch(service, batch_id).counts
    over = not counts.get("accepted") and not counts.get("running")
    return over and not read_events(service.database, seen, batch=batch_id, limit=1)


def _batch(service: Service, batch_id: str) -> Batch:
    batch = service.jobs.batch(batch_id)
    if batch is None:
        raise ProblemError(404, "unknown-batch", f"batch {batch_id} is unknown; GET /v1/batches lists those there are")
    return batch
