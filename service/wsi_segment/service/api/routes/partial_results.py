"""Results of running jobs; since they grow, no client may cache them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from wsi_segment.service.api.mask_tiles import grey_png, tile_table
from wsi_segment.service.api.problems import ProblemError, answers, documented
from wsi_segment.service.api.responses import TilesOut
from wsi_segment.service.api.routes.jobs import JobId
from wsi_segment.service.api.routes.results import Block
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.api.viewing.growing_masks import GrowingMask
from wsi_segment.service.workers.result_files import ResultFiles

router = APIRouter(prefix="/v1/jobs/{job_id}/partial", tags=["results"], responses=documented(404))

_NOT_KEPT = {"Cache-Control": "no-store"}
_MOST_BOXES = 5000
_NOTHING_YET: dict[int | str, dict[str, Any]] = {204: {"description": "nothing of the mask is there yet"}}


class FinishedOut(BaseModel):
    """Regions that are finished."""

    regions: list[tuple[int, int, int, int]] = Field(description="x0, y0, x1, y1 of each on the finest level")
    next: int = Field(description="to be sent as ``after`` next time")
    pixels: list[int] = Field(description="of each class so far, class 0 first")


@router.get("/tiles.json", response_model=TilesOut, responses=_NOTHING_YET)
def get_partial_table(service: Here, job_id: JobId) -> Response:
    """Return levels, origin and classes of a mask that is being made."""
    table = partial_table(service, job_id)
    if table is None:
        return Response(status_code=204, headers=_NOT_KEPT)
    return Response(table.model_dump_json(), headers=_NOT_KEPT, media_type="application/json")


def partial_table(service: Service, job_id: str) -> TilesOut | None:
    """Return what a viewer must know of the mask of a job, as far as it is made; None while nothing is there."""
    files, growing = _look(service, job_id)
    if growing is not None:
        return tile_table(growing.mask, dict(enumerate(growing.pixels())), probabilities=False)
    return service.masks.table(files.store) if files.store.exists() else None


@router.get("/regions.json", response_model=FinishedOut, responses=_NOTHING_YET)
def get_finished_regions(
    service: Here,
    job_id: JobId,
    after: Annotated[int, Query(ge=0, le=10**9, description="``next`` of the answer before; 0 for all")] = 0,
) -> Response:
    """Return which regions were finished since another answer, in that order; all where the run was started again."""
    _, growing = _look(service, job_id)
    if growing is None:
        return Response(status_code=204, headers=_NOT_KEPT)
    places = list(growing.finished)
    start = after if after <= len(places) else 0
    boxes = [growing.box_of(place) for place in places[start : start + _MOST_BOXES]]
    content = FinishedOut(
        regions=[(box.x0, box.y0, box.x1, box.y1) for box in boxes],
        next=start + len(boxes),
        pixels=growing.pixels(),
    )
    return Response(content.model_dump_json(), headers=_NOT_KEPT, media_type="application/json")


@router.get("/tiles/{z}/{x}/{y}.png", response_class=Response, responses=answers("image/png", 404))
def get_partial_tile(service: Here, job_id: JobId, block: Block) -> Response:
    """Return the class ids of a tile as a grey PNG, 0 where nothing is finished yet; see ``results/tiles``."""
    files, growing = _look(service, job_id)
    content = None
    if growing is not None:
        ids = growing.tiles(block)
        content = None if ids is None else grey_png(ids)
    elif files.store.exists():  # all regions are finished, what follows them is not
        content = service.masks.tiles(files.store, block)
    if content is None:
        raise ProblemError(404, "no-tile", "the mask has no such tile; tiles.json has its levels")
    return Response(content, headers=_NOT_KEPT, media_type="image/png")


def _look(service: Service, job_id: str) -> tuple[ResultFiles, GrowingMask | None]:
    job = service.job(job_id)
    if job.status in ("failed", "dismissed") or job.removed is not None:
        raise ProblemError(404, "no-result", f"the job is {job.status}, and has no result")
    files = service.result(job_id)[1] if job.status == "successful" else ResultFiles.of(service.data, job)
    return files, None if job.status == "successful" else service.growing.of(files.store)
