"""Corrections of a job's result: what people drew or changed, kept beside it for training."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from wsi_segment.service.api.bodies.aside import read_aside
from wsi_segment.service.api.bodies.sent_corrections import keep_corrections
from wsi_segment.service.api.problems import ProblemError, answers, documented
from wsi_segment.service.api.routes.jobs import JobId
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.workers.kept_corrections import ChangedError, Corrections, Version

router = APIRouter(prefix="/v1/jobs/{job_id}/corrections.geojson", tags=["results"])

_TAG = r'^(\*|(W/)?"[!#-~]*")$'
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SentCorrections"}}},
    }
}


class SavingOut(BaseModel):
    """Who saved a version, and when."""

    version: int
    author: str = Field(description="name of the key; empty without one")
    saved: str = Field(description="ISO 8601, UTC")


class SavingList(BaseModel):
    """All versions, the newest first."""

    versions: list[SavingOut]


class KeptOut(BaseModel):
    """The version that was kept."""

    version: int
    features: int


@router.get("", response_class=FileResponse, responses=answers("application/geo+json", 404))
def get_corrections(
    service: Here,
    job_id: JobId,
    version: Annotated[int | None, Query(ge=1, le=999_999, description="an earlier one; the latest without")] = None,
) -> Response:
    """Return the latest corrections, with who sent them and when; the ETag is needed to replace them."""
    kept = _corrections(service, job_id)
    found = kept.latest() if version is None else kept.earlier(version)
    if found is None and version is not None:
        raise ProblemError(404, "no-version", f"there is no version {version} of these corrections")
    if found is None:
        raise ProblemError(404, "no-corrections", "nobody has sent corrections of this result yet")
    headers = {"ETag": f'"{found.tag}"', "Cache-Control": "no-cache"}
    return FileResponse(found.path, headers=headers, media_type="application/geo+json")


@router.get("/versions", response_model=SavingList, responses=documented(404, 409))
def list_versions(service: Here, job_id: JobId) -> SavingList:
    """List all versions of the corrections of a result: who sent them, and when."""
    savings = _corrections(service, job_id).savings()
    return SavingList(versions=[SavingOut(version=one.version, author=one.author, saved=one.saved) for one in savings])


@router.put("", response_model=KeptOut, responses=documented(404, 409, 412, 428), openapi_extra=_BODY)
async def put_corrections(
    service: Here,
    request: Request,
    job_id: JobId,
    if_match: Annotated[str | None, Header(pattern=_TAG, description="ETag of the version that is replaced")] = None,
    if_none_match: Annotated[str | None, Header(pattern=r"^\*$", description="* for the first version")] = None,
) -> Response:
    """Keep corrections as another version; earlier ones stay. A version that someone sent since is not replaced."""
    content = await request.body()
    kept, latest = await anyio.to_thread.run_sync(_kept_so_far, service, job_id)
    if latest is not None and if_match is None and if_none_match is None:
        raise ProblemError(428, "no-condition", "corrections exist: send If-Match with the ETag that GET answers")
    expected = None if if_match is None else if_match.removeprefix("W/").strip('"')
    if if_match == "*" and latest is not None:
        expected = latest.tag
    try:
        made, features = await read_aside(keep_corrections, content, kept, request.state.client, expected)
    except ChangedError as error:
        raise ProblemError(
            412, "changed", "corrections were sent meanwhile; fetch them, and send yours again with their ETag"
        ) from error
    except ValueError as error:
        raise ProblemError(422, "invalid-request", "a number is not finite") from error
    answer = KeptOut(version=made.number, features=features).model_dump()
    return JSONResponse(answer, headers={"ETag": f'"{made.tag}"'})


def _kept_so_far(service: Service, job_id: str) -> tuple[Corrections, Version | None]:
    kept = _corrections(service, job_id)
    return kept, kept.latest()


def _corrections(service: Service, job_id: str) -> Corrections:
    job = service.job(job_id)
    if job.store is not None:
        raise ProblemError(409, "not-ours", "this mask was not made by a job; keep corrections in its own folder")
    if job.status != "successful":
        raise ProblemError(404, "no-result", f"job {job_id} is {job.status}; a successful one has results to correct")
    return Corrections(service.data, job.id)
