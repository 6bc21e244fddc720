"""What clients receive as JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wsi_segment.inference.mask.summary import store_stem
from wsi_segment.model.card import DEFAULT_MODEL
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.requests import Id
from wsi_segment.service.jobs.job_table import Batch, Job, Status
from wsi_segment.service.jobs.outbox import worst


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
    slide_name: str | None = Field(None, description="its file name; null where it no longer lies under a root")
    slide_fingerprint: str | None = Field(
        None, description="of the slide that the job was accepted for; null for a job of an earlier version"
    )
    name: str | None = Field(None, description="of a finished mask that no job made; null for any other")
    model: str
    model_version: str | None = Field(None, description="of the model that the job was accepted for")
    model_sha256: str | None = Field(None, description="of that model's file")
    parameters: dict[str, Any] = Field({}, description="all of them, with defaults; of outlines the bounds")
    region: tuple[float, float, float, float] | None = Field(
        description="x0, y0, x1, y1 of what it was limited to; null for the whole slide or unreadable outlines"
    )
    batch: Id | None
    priority: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    removed: datetime | None = Field(None, description="when its results were removed")
    position: int | None = Field(
        None,
        description="how many jobs come before it if no other is posted; null where it does not wait",
    )
    windows: int | None = Field(
        None, description="of the network that it needs at most, as far as that is known; see done and total later on"
    )
    expected_end: datetime | None = Field(None, description="by how fast this and other jobs went; null if unknown")
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
    folder: str = Field("", description="below the root, with /; empty for the root itself")
    width: int | None = None
    height: int | None = None
    origin: list[int] | None = None
    mpp: float | None = None
    mpp_x: float | None = None
    mpp_y: float | None = None
    mpp_source: str | None = None
    reader: str | None = None
    fingerprint: str | None = Field(None, description="sha256 of samples of its files; names do not count")
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
    pixels: int = Field(0, description="of the finest level that are of the class")


class TilesOut(BaseModel):
    """What a viewer needs to know of the tiles of class ids."""

    tile_size: int
    levels: list[MaskLevel]
    origin: list[float] = Field(description="of the mask, in level-0 pixels from the corner of the slide's bounds")
    slide_width: int
    slide_height: int
    mpp_x: float = Field(description="µm per level-0 pixel of the slide, as the mask was made with it")
    mpp_y: float
    classes: list[MaskClass]
    probabilities: bool = Field(False, description="whether the mask keeps them too, see probabilities/{class_id}")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the jobs that have not ended."""

    positions: dict[str, int] = field(default_factory=dict)
    """Jobs that come before each waiting one."""
    pace: float | None = None
    """Mean seconds of a job."""
    workers: int = 1
    away: dict[str, str] = field(default_factory=dict)
    """Why jobs wait although it is their turn, by job."""

    def expected_end(self, job: Job) -> datetime | None:
        """Return when a job is expected to end, or None if unknown."""
        now = time.time()
        if job.status == "accepted" and self.pace is not None and job.id in self.positions and job.id not in self.away:
            return moment(now + self.pace * (1 + self.positions[job.id] / max(1, self.workers)))
        if job.status == "running" and job.started is not None and job.stage == "segment" and job.done > job.kept:
            return moment(now + (now - job.started) * (job.total - job.done) / (job.done - job.kept))
        return None


_NO_OUTLOOK = Outlook()


def job_out(job: Job, slide_name: str | None, outlook: Outlook = _NO_OUTLOOK) -> JobOut:
    """Describe a job for clients."""
    inputs = job.inputs or {}
    slide, model = inputs.get("slide", {}), inputs.get("model", {})
    at, region = f"/v1/jobs/{job.id}", job.parameters.get("region")
    links = [_link("self", at), _link("monitor", f"{at}/events", "text/event-stream")]
    links.append(_link("viewer", f"/#/view/{job.id}", "text/html"))
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
        slide_fingerprint=slide.get("fingerprint"),
        name=None if job.store is None else store_stem(PurePath(job.store).name),
        model=job.parameters.get("model") or DEFAULT_MODEL,
        model_version=model.get("version"),
        model_sha256=model.get("sha256"),
        parameters=job.parameters,
        region=region.get("bounds") if isinstance(region, dict) else None,  # the mask of no job says its digest alone
        batch=job.batch,
        priority=job.priority,
        created=moment(job.created),
        started=None if job.started is None else moment(job.started),
        finished=None if job.finished is None else moment(job.finished),
        removed=None if job.removed is None else moment(job.removed),
        position=outlook.positions.get(job.id) if job.status == "accepted" else None,
        windows=job.windows,
        expected_end=outlook.expected_end(job),
        message=outlook.away.get(job.id, job.message),
        warnings=[JobWarning.model_validate(one) for one in job.warnings],
        links=links,
    )


def batch_out(batch: Batch) -> BatchOut:
    """Describe a batch for clients: running until all its jobs have ended, then as good as the worst of them."""
    counts = batch.counts
    ended = sum(counts.get(status, 0) for status in ("successful", "failed", "dismissed"))
    status: Status = "running" if counts.get("running") or ended else "accepted"
    if ended == batch.jobs:
        status = worst(counts)
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


def _link(rel: str, path: str, kind: str = "application/json") -> Link:
    return Link(rel=rel, href=href(path), type=kind)
