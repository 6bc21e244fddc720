"""The outlines of a result as a list, the largest first, for a table that a page shows piece by piece."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from wsi_segment.service.api.paging import PageSize, PageToken, token_of
from wsi_segment.service.api.problems import documented
from wsi_segment.service.api.routes.jobs import JobId
from wsi_segment.service.api.service import Here
from wsi_segment.service.workers.outline_index import has_objects, largest_objects

router = APIRouter(prefix="/v1/jobs/{job_id}/results", tags=["results"], responses=documented(404, 503))


class OutlineOut(BaseModel):
    """One outline, without its corners; ``objects.geojson?bbox=`` has those."""

    class_id: int
    area_um2: float
    bbox: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in level-0 pixels, as in GeoJSON")


class OutlineList(BaseModel):
    """A page of outlines, the largest first."""

    outlines: list[OutlineOut]
    total: int
    next_page_token: str


@router.get("/outlines.json", response_model=OutlineList)
def list_outlines(
    service: Here,
    job_id: JobId,
    class_id: Annotated[
        list[Annotated[int, Query(ge=1, le=255)]] | None, Query(description="only of that class; repeat")
    ] = None,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> OutlineList:
    """List outlines by their area, the largest first."""
    _, files = service.result(job_id)
    if not has_objects(files.folder):
        service.pool.outline(files.folder, files.store)
        service.result(job_id)  # again: a mask that was replaced in the meantime is another job
    start = token_of(page_token) or 0
    rows, total = largest_objects(files.folder, None if class_id is None else set(class_id), start, page_size)
    return OutlineList(
        outlines=[
            OutlineOut(
                class_id=int(row["class"]),
                area_um2=float(row["area"]),
                bbox=(float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"])),
            )
            for row in rows
        ],
        total=total,
        next_page_token=str(start + page_size) if start + page_size < total else "",
    )
