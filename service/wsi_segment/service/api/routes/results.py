"""Results of jobs: the mask itself, its tiles and outlines, its figures and provenance."""

from __future__ import annotations

from html import escape
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse

from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.mask_tiles import MOST_ACROSS, TileBlock
from wsi_segment.service.api.problems import ProblemError, answers, documented
from wsi_segment.service.api.responses import FileList, FileOut, Link, TilesOut
from wsi_segment.service.api.routes.jobs import JobId
from wsi_segment.service.api.routes.slides import Number, Zoom
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.api.viewing.store_zip import zipped
from wsi_segment.service.jobs.job_table import ENDED, Job
from wsi_segment.service.workers.outline_index import find_objects, has_objects, stream_objects

router = APIRouter(prefix="/v1/jobs/{job_id}/results", tags=["results"], responses=documented(404))

Across = Annotated[int, Query(ge=1, le=MOST_ACROSS, description="so many tiles to the right in one picture")]
Down = Annotated[int, Query(ge=1, le=MOST_ACROSS, description="so many tiles down in one picture")]
ClassId = Annotated[int, Path(ge=1, le=255, description="of a class in tiles.json")]

_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
"""Cache-Control of results of this service's jobs, which never change under the same address."""
_CHECKED = {"Cache-Control": "private, no-cache"}
"""Cache-Control of masks in other people's folders, which may change."""
_NUMBER = r"-?[0-9]{1,9}(\.[0-9]{1,6})?"
_FILE_ANSWERS = answers("application/octet-stream, application/json, text/html", 404)


async def _block(z: Zoom, x: Number, y: Number, columns: Across = 1, rows: Down = 1) -> TileBlock:
    return TileBlock(z, x, y, columns=columns, rows=rows)


Block = Annotated[TileBlock, Depends(_block)]
"""Tiles of a mask, as a parameter of a route: one by its place, or several as one picture."""


@router.get("", response_model=list[Link])
def list_results(service: Here, job_id: JobId) -> list[Link]:
    """List the results of a finished job."""
    job, files = service.result(job_id)
    at = href(f"/v1/jobs/{job.id}/results")
    marker = "zarr.json" if (files.store / "zarr.json").exists() else ".zattrs"
    links = [
        Link(rel="mask", href=f"{at}/zarr/{marker}", type="application/json"),
        Link(rel="archive", href=f"{at}/zarr.zip", type="application/zip"),
        Link(rel="objects", href=f"{at}/objects.geojson", type="application/geo+json"),
        Link(rel="tiles", href=f"{at}/tiles.json", type="application/json"),
        Link(rel="summary", href=f"{at}/summary.json", type="application/json"),
        Link(rel="provenance", href=f"{at}/provenance.json", type="application/json"),
    ]
    return links + ([Link(rel="preview", href=f"{at}/preview.png", type="image/png")] if files.preview.exists() else [])


@router.delete("", status_code=204, response_class=Response, responses=documented(404, 409))
def remove_results(service: Here, job_id: JobId) -> Response:
    """Remove the files of an ended job for good; the job itself stays in the list."""
    job = service.job(job_id)
    if job.status not in ENDED:
        raise ProblemError(409, "not-ended", f"the job is {job.status}; cancel it first")
    if job.store is not None:
        raise ProblemError(409, "not-ours", "this mask was not made by a job; remove it from its folder")
    service.housekeeping.remove_results(job.id)
    return Response(status_code=204)


@router.get("/summary.json", response_class=JSONResponse, responses=answers("application/json", 404))
def get_summary(service: Here, job_id: JobId) -> JSONResponse:
    """Return areas by class in mm² and % of tissue, and how the run went; without names of files."""
    job, files = service.result(job_id)
    summary = files.read_summary()
    if not summary:
        raise ProblemError(404, "no-summary", "no summary lies beside this mask")
    return JSONResponse({"job": job.id} | {key: value for key, value in summary.items() if key not in ("slide", "out")})


@router.get("/provenance.json", response_class=JSONResponse, responses=answers("application/json", 404))
def get_provenance(service: Here, job_id: JobId) -> JSONResponse:
    """Return the model, versions and parameters that the mask was made with, as the store has them."""
    _, files = service.result(job_id)
    return JSONResponse(service.masks.opened(files.store).provenance)


@router.get("/preview.png", response_class=FileResponse, responses=answers("image/png", 404))
def get_preview(service: Here, job_id: JobId, request: Request) -> Response:
    """Return a picture of the mask over the slide."""
    job, files = service.result(job_id)
    if not files.preview.exists():
        raise ProblemError(404, "no-preview", "this mask came without a preview")
    return _file(files.preview, request, "image/png", job)


@router.get("/tiles.json", response_model=TilesOut)
def get_tile_table(service: Here, job_id: JobId) -> TilesOut:
    """Return levels, tile size, origin and classes, as a viewer needs them for the tiles."""
    _, files = service.result(job_id)
    return service.masks.table(files.store)


@router.get("/tiles/{z}/{x}/{y}.png", response_class=Response, responses=answers("image/png", 404))
def get_mask_tile(service: Here, job_id: JobId, block: Block) -> Response:
    """Return the class ids of a tile of at most 256 x 256, or of several, as a grey PNG; level 0 is the finest."""
    job, files = service.result(job_id)
    content = service.masks.tiles(files.store, block)
    if content is None:
        raise ProblemError(404, "no-tile", "the mask has no such tile; tiles.json has its levels")
    return Response(content, headers=_caching(job), media_type="image/png")


@router.get("/probabilities/{class_id}/{z}/{x}/{y}.png", response_class=Response, responses=answers("image/png", 404))
def get_probability_tile(service: Here, job_id: JobId, class_id: ClassId, block: Block) -> Response:
    """Return the probability of a class, times 255, as a grey PNG like those of `tiles`; only where it was kept."""
    job, files = service.result(job_id)
    content = service.masks.probability_tiles(files.store, class_id, block)
    if content is None:
        raise ProblemError(404, "no-tile", "the mask has no such tile, or keeps no probabilities; see tiles.json")
    return Response(content, headers=_caching(job), media_type="image/png")


@router.get("/objects.geojson", response_class=StreamingResponse, responses=answers("application/geo+json", 404, 503))
def get_objects(
    service: Here,
    job_id: JobId,
    bbox: Annotated[
        str | None,
        Query(
            pattern=f"^{_NUMBER}(,{_NUMBER}){{3}}$",
            description="x0,y0,x1,y1 in level-0 pixels: whole objects that meet it",
        ),
    ] = None,
    class_: Annotated[
        list[Annotated[str, Query(max_length=200)]] | None, Query(alias="class", description="name of a class; repeat")
    ] = None,
) -> Response:
    """Outlines as GeoJSON that QuPath imports; level-0 pixels from the corner of the slide's bounds."""
    _, files = service.result(job_id)
    if not has_objects(files.folder):
        service.pool.outline(files.folder, files.store)
        service.result(job_id)  # again: a mask that was replaced in the meantime is another job
    box = None
    if bbox is not None:
        x0, y0, x1, y1 = (float(part) for part in bbox.split(","))
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    ids = None
    if class_ is not None:
        known = {entry.name: entry.id for entry in service.masks.opened(files.store).classes}
        missing = [name for name in class_ if name not in known]
        if missing:
            raise ProblemError(404, "unknown-class", f"no class {missing[0]!r}; there are: {', '.join(known)}")
        ids = {known[name] for name in class_}
    rows = find_objects(files.folder, box, ids)
    headers = {"X-Total-Count": str(len(rows))}
    return StreamingResponse(stream_objects(files.folder, rows), 200, headers, "application/geo+json")


@router.get("/files.json", response_model=FileList)
def list_files(service: Here, job_id: JobId) -> FileList:
    """List the files of the store with their sizes, for copying it."""
    _, files = service.result(job_id)
    found = sorted(path for path in files.store.rglob("*") if path.is_file())
    return FileList(
        files=[FileOut(path=one.relative_to(files.store).as_posix(), size=one.stat().st_size) for one in found]
    )


@router.get("/zarr.zip", response_class=StreamingResponse, responses=answers("application/zip", 404))
def get_zipped_zarr(service: Here, job_id: JobId) -> Response:
    """Return the OME-Zarr store as one ZIP archive, which readers of zipped stores open as it is."""
    _, files = service.result(job_id)
    return StreamingResponse(zipped(files.store), headers={"Cache-Control": "no-store"}, media_type="application/zip")


@router.get("/zarr/{path:path}", response_class=FileResponse, responses=_FILE_ANSWERS)
def get_zarr(service: Here, job_id: JobId, request: Request, path: Annotated[str, Path(max_length=1000)]) -> Response:
    """Return a file of the OME-Zarr store; give a reader the address up to ``zarr``. Ranges and ETags work.

    A folder is listed, so that readers find groups and arrays by themselves.
    """
    return _zarr(service, job_id, request, path)


def _zarr(service: Service, job_id: str, request: Request, path: str) -> Response:
    job, files = service.result(job_id)
    root = files.store.resolve()
    try:
        file = (root / path).resolve()
        if file.is_relative_to(root) and file.is_dir():
            return _listing(file, job)
        found = file.is_relative_to(root) and file.is_file()
    except (OSError, ValueError, RuntimeError):
        found = False
    if not found:
        raise ProblemError(404, "no-file", "the store has no such file")
    kind = (
        "application/json"
        if file.name in ("zarr.json", ".zattrs", ".zgroup", ".zarray")
        else "application/octet-stream"
    )
    return _file(file, request, kind, job)


def _listing(folder: FilePath, job: Job) -> Response:
    """List a folder of the store as readers over HTTP understand it: a page with a link to each name."""
    names = sorted(one.name for one in folder.iterdir())
    links = "".join(f'<a href="{quote(name)}">{escape(name)}</a>\n' for name in names)
    return HTMLResponse(f"<!doctype html>\n<title>files</title>\n{links}", headers=_caching(job))


def _caching(job: Job) -> dict[str, str]:
    return _IMMUTABLE if job.store is None else _CHECKED


def _file(file: FilePath, request: Request, media_type: str, job: Job) -> Response:
    answer = FileResponse(file, media_type=media_type, headers=_caching(job), stat_result=file.stat())
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if answer.headers["etag"] in tags or "*" in tags:
        return Response(status_code=304, headers={"ETag": answer.headers["etag"], **_caching(job)})
    return answer
