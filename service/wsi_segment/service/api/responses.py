"""What clients receive as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wsi_segment.inference.slides.geojson_features import bounds_of
from wsi_segment.model.card import DEFAULT_MODEL
from wsi_segment.service.api.requests import Id
from wsi_segment.service.jobs.job_table import Batch, Job, Status


class Link(BaseModel):
    """A link to a related resource."""

    rel: str
    href: str
    type: str


class JobWarning(BaseModel):
    """A doubt about a result that was reached all the same."""

    code: str = Field(description="for programs, such as pixel-size-differs")
    message: str = Field(description="for people")


class JobOut(BaseModel):
    """A job; names of states as in OGC API - Processes."""

    id: Id
    status: Status
    progress: Annotated[int, Field(ge=0, le=100)]
    stage: str
    done: int = Field(description="of the stage: windows for ``segment``, rows or blocks else")
    total: int
    slide: Id
    slide_name: str | None = Field(description="its file name; null where it no longer lies under a root")
    model: str
    region: tuple[float, float, float, float] | None = Field(
        description="x0, y0, x1, y1 of what it was limited to; null for the whole slide or unreadable outlines"
    )
    batch: Id | None
    priority: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    message: str
    warnings: list[JobWarning] = Field(description="doubts about the result; with strict the job fails instead")
    links: list[Link]


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobOut]
    next_page_token: str


class BatchOut(BaseModel):
    """A batch."""

    id: Id
    name: str
    status: Status
    progress: Annotated[int, Field(ge=0, le=100)]
    created: datetime
    jobs: int
    counts: dict[str, int]
    links: list[Link]


class BatchList(BaseModel):
    """A page of batches, the newest first."""

    batches: list[BatchOut]
    next_page_token: str


class SlideOut(BaseModel):
    """A slide; ``error`` says why it cannot be opened, and then nothing else is known."""

    id: Id
    name: str
    root: str
    width: int | None = None
    height: int | None = None
    origin: list[int] | None = None
    mpp: float | None = None
    mpp_x: float | None = None
    mpp_y: float | None = None
    mpp_source: str | None = None
    reader: str | None = None
    levels: list[dict[str, float]] = []
    error: str | None = None
    links: list[Link]


class SlideList(BaseModel):
    """A page of slides, by their paths."""

    slides: list[SlideOut]
    next_page_token: str


class ModelOut(BaseModel):
    """A model: its card."""

    model_config = ConfigDict(extra="allow")

    name: str
    version: str
    description: str
    mpp: float
    classes: list[dict[str, Any]]


class ModelList(BaseModel):
    """All models."""

    models: list[ModelOut]
    default: str


class FileOut(BaseModel):
    """A file of a store."""

    path: str
    size: int


class FileList(BaseModel):
    """All files of a store."""

    files: list[FileOut]


class MaskLevel(BaseModel):
    """A level of a mask; ``downsample`` against level 0 of the slide."""

    downsample: float
    width: int
    height: int


class MaskClass(BaseModel):
    """A class id with its name and colour; 0 is "not analysed"."""

    id: int
    name: str
    color: list[int]


class TilesOut(BaseModel):
    """What a viewer needs to know of the tiles of class ids."""

    tile_size: int
    levels: list[MaskLevel]
    origin: list[float] = Field(description="of the mask, in level-0 pixels from the corner of the slide's bounds")
    slide_width: int
    slide_height: int
    classes: list[MaskClass]


def job_out(job: Job, slide_name: str | None) -> JobOut:
    """Describe a job for clients."""
    at = f"/v1/jobs/{job.id}"
    links = [_link("self", at), _link("monitor", f"{at}/events", "text/event-stream")]
    if job.status == "successful" and job.removed is None:
        links += [
            _link("http://www.opengis.net/def/rel/ogc/1.0/results", f"{at}/results"),
            _link(
                "mask",
                f"{at}/results/zarr/zarr.json"
                if job.parameters.get("ome_zarr", "0.5") == "0.5"
                else f"{at}/results/zarr/.zattrs",
            ),
            _link("objects", f"{at}/results/objects.geojson", "application/geo+json"),
        ]
    progress = 100 if job.status == "successful" else 0
    if job.status != "successful" and job.stage == "segment" and job.total:
        progress = min(99, 100 * job.done // job.total)
    return JobOut(
        id=job.id,
        status=job.status,
        progress=progress,
        stage=job.stage,
        done=job.done,
        total=job.total,
        slide=job.slide,
        slide_name=slide_name,
        model=job.parameters.get("model") or DEFAULT_MODEL,
        region=bounds_of(job.parameters.get("region")),
        batch=job.batch,
        priority=job.priority,
        created=moment(job.created),
        started=None if job.started is None else moment(job.started),
        finished=None if job.finished is None else moment(job.finished),
        message=job.message,
        warnings=[JobWarning.model_validate(one) for one in job.warnings],
        links=links,
    )


def batch_out(batch: Batch) -> BatchOut:
    """Describe a batch for clients: running until all its jobs have ended, then as good as the worst of them."""
    counts = batch.counts
    ended = sum(counts.get(status, 0) for status in ("successful", "failed", "dismissed"))
    status: Status = "running" if counts.get("running") or ended else "accepted"
    if ended == batch.jobs:
        status = "failed" if counts.get("failed") else "dismissed" if counts.get("dismissed") else "successful"
    at = f"/v1/batches/{batch.id}"
    links = [
        _link("self", at),
        _link("monitor", f"{at}/events", "text/event-stream"),
        _link("item", f"/v1/jobs?batch={batch.id}"),
    ]
    return BatchOut(
        id=batch.id,
        name=batch.name,
        status=status,
        progress=100 * ended // max(1, batch.jobs),
        created=moment(batch.created),
        jobs=batch.jobs,
        counts={str(name): count for name, count in counts.items()},
        links=links,
    )


def moment(seconds: float) -> datetime:
    """Convert a time of the tables."""
    return datetime.fromtimestamp(seconds, UTC)


def _link(rel: str, href: str, kind: str = "application/json") -> Link:
    return Link(rel=rel, href=href, type=kind)
