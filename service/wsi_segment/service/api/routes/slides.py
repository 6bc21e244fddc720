"""Slides: list those under the roots, view them, upload where that is allowed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from wsi_segment.errors import SlideError
from wsi_segment.files import replacing
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.requests import Id
from wsi_segment.service.api.paging import PageSize, PageToken, token_of
from wsi_segment.service.api.problems import ProblemError, answers, documented, link, linked
from wsi_segment.service.api.responses import Link, SlideList, SlideOut
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.folders.root_watch import RootAwayError
from wsi_segment.service.folders.slide_roots import UPLOADS, Root
from wsi_segment.service.workers import slide_pool as pixels
from wsi_segment.service.workers.slide_catalogue import FoundSlide

router = APIRouter(prefix="/v1", tags=["slides"], responses=documented(503))

SlideId = Annotated[Id, Path(alias="slide_id")]
Zoom = Annotated[int, Path(ge=0, le=30, description="0 is the finest level")]
DeepZoomLevel = Annotated[
    int, Path(ge=0, le=30, description="as Deep Zoom counts: the last level is the finest, level 0 is one pixel")
]
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
_UploadSuffix = Literal[".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".png", ".jpg", ".jpeg"]
_LIST_SECONDS = 0.25
"""Seconds that a page of slides spends on those not known yet; the others follow in the background."""
_NOT_YET = {"error": "not opened yet; ask for this slide alone, or for the list again in a moment"}
_CACHED = {"Cache-Control": "private, max-age=3600"}


@router.get(
    "/slides",
    response_model=SlideList,
    responses=linked(
        {
            "look": link("get", "/v1/slides/{slide_id}", "slides/0/id"),
            "thumbnail": link("get", "/v1/slides/{slide_id}/thumbnail", "slides/0/id"),
            "segment": {
                "operationRef": "#/paths/~1v1~1jobs/post",
                "requestBody": {"slide": "$response.body#/slides/0/id"},
            },
        },
        404,
    ),
)
def list_slides(
    service: Here,
    root: Annotated[str | None, Query(max_length=200, description="only of that root")] = None,
    prefix: Annotated[str, Query(max_length=4096, description="only paths below the root that begin so")] = "",
    search: Annotated[str, Query(max_length=4096, description="only paths with this in them, in any case")] = "",
    path: Annotated[
        str | None, Query(max_length=4096, description="the one slide of a path, as the server sees it")
    ] = None,
    page_size: PageSize = 50,
    page_token: PageToken = "",
) -> SlideList:
    """List slides under the roots, by path; those that cannot be opened, or were not yet, carry the reason."""
    if path is not None:
        return SlideList(slides=[slide_out(service, service.catalogue.by_path(path))], next_page_token="")
    roots = [one for one in service.catalogue.roots if root is None or one.name == root]
    if not roots and root is not None:
        raise ProblemError(404, "unknown-root", "there is no root of that name")
    start = token_of(page_token) or 0
    found, more = _page(service, roots, prefix=prefix, search=search, start=start, count=page_size)
    service.catalogue.remember(found)
    until, known, unknown = time.monotonic() + _LIST_SECONDS, service.known_of(found), []
    listed = []
    for slide in found:
        described = known.get(slide.id)
        if described is None and time.monotonic() >= until:
            unknown.append(slide)
            described = _NOT_YET
        listed.append(slide_out(service, slide, described))
    service.details.want(unknown, service.describe)
    return SlideList(slides=listed, next_page_token=str(start + page_size) if more else "")


def _page(
    service: Service, roots: Sequence[Root], prefix: str, search: str, start: int, count: int
) -> tuple[list[FoundSlide], bool]:
    """Return slides of the roots that are there, one root after the other, and whether more follow."""
    away, found, end = service.roots.away(), list[FoundSlide](), start + count
    for root in roots:
        if root.name in away:
            if len(roots) == 1:
                raise RootAwayError(away[root.name])
            continue
        part, paths = service.catalogue.page(root, prefix, start, max(0, end - start), search=search)
        found += part
        start, end = max(0, start - paths), end - paths
    return found, end < 0


@router.get("/slides/{slide_id}", response_model=SlideOut, responses=documented(404))
def get_slide(service: Here, slide_id: SlideId) -> SlideOut:
    """Return a slide."""
    return slide_out(service, service.catalogue.by_id(slide_id))


@router.get("/slides/{slide_id}/thumbnail", response_class=Response, responses=answers("image/jpeg", 404))
async def get_thumbnail(
    service: Here, slide_id: SlideId, size: Annotated[int, Query(ge=16, le=pixels.THUMBNAIL)] = 512
) -> Response:
    """Return the whole slide with a longest side of ``size`` pixels; never its label or macro image."""

    def read() -> Any:
        slide = service.catalogue.by_id(slide_id)
        service.describe(slide)
        return service.look(pixels.thumbnail, slide, size)

    return Response(await service.tile_line.call(read), headers=_CACHED, media_type="image/jpeg")


@router.get("/slides/{slide_id}/tiles/{z}/{x}/{y}.jpg", response_class=Response, responses=answers("image/jpeg", 404))
async def get_tile(service: Here, slide_id: SlideId, z: Zoom, x: Number, y: Number) -> Response:
    """Return a tile of 256 px; ``z`` counts halvings of the slide's own pixels, down to a single tile."""
    return await _tile(service, slide_id, lambda described: z if z < len(described["levels"]) else -1, x=x, y=y)


@router.get(
    "/slides/{slide_id}/slide.dzi",
    response_class=Response,
    responses=answers("application/xml", 404),
)
def get_deep_zoom(service: Here, slide_id: SlideId) -> Response:
    """Return the Deep Zoom description; its tiles are beside it."""
    described = service.describe(service.catalogue.by_id(slide_id))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" TileSize="{pixels.TILE}" Overlap="0" Format="jpg">'
        f'<Size Width="{described["width"]}" Height="{described["height"]}"/></Image>\n'
    )
    return Response(text, media_type="application/xml")


@router.get(
    "/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpg",
    response_class=Response,
    responses=answers("image/jpeg", 404),
)
async def get_deep_zoom_tile(
    service: Here, slide_id: SlideId, level: DeepZoomLevel, column: Number, row: Number
) -> Response:
    """Return a Deep Zoom tile; level 0 is a single pixel, the last level has the slide's own."""

    def zoom(described: dict[str, Any]) -> int:
        longest: int = max(described["width"], described["height"])
        return (longest - 1).bit_length() - level

    return await _tile(service, slide_id, zoom, x=column, y=row)


@router.post(
    "/slides",
    status_code=201,
    response_model=SlideOut,
    responses=documented(404, 507),
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def upload_slide(
    service: Here, request: Request, suffix: Annotated[_UploadSuffix, Query(description="of the slide's file")]
) -> SlideOut:
    """Upload a slide as the body of the request, where the server allows it; the server names it."""
    if not service.settings.upload_limit:
        raise ProblemError(403, "no-uploads", "this server takes no uploads; put the slide under one of its roots")
    if service.housekeeping.disk_low is not None:
        raise ProblemError(507, "disk-low", service.housekeeping.disk_low)
    target = service.data / UPLOADS / f"{secrets.token_hex(12)}{suffix}"
    with service.uploads.room() as room:
        with replacing(target) as file:
            async for piece in request.stream():
                room.take(len(piece))
                await anyio.to_thread.run_sync(file.write, piece)
        try:
            slide = await anyio.to_thread.run_sync(service.catalogue.by_path, f"{UPLOADS}/{target.name}")
            await anyio.to_thread.run_sync(service.describe, slide)
        except BaseException:  # whatever it was: nobody knows the name under which it lies there
            target.unlink(missing_ok=True)
            raise
        service.metrics.uploaded.inc(room.taken)
        service.uploads.keep(room)
    return await anyio.to_thread.run_sync(slide_out, service, slide)


@router.delete("/slides/{slide_id}", status_code=204, response_class=Response, responses=documented(404, 409))
def remove_upload(service: Here, slide_id: SlideId) -> Response:
    """Remove an uploaded slide for good; any other belongs to whoever put it under its root."""
    slide = service.catalogue.by_id(slide_id)
    if slide.root != UPLOADS:
        raise ProblemError(409, "not-ours", "this slide was not uploaded; remove it from its folder")
    if service.uploads.is_used(slide.id):
        raise ProblemError(409, "in-use", "a job waits for this slide or works on it; cancel it first")
    slide.location.unlink(missing_ok=True)
    return Response(status_code=204)


async def _tile(service: Service, slide_id: str, zoom: Callable[[dict[str, Any]], int], *, x: int, y: int) -> Response:
    """Answer with a tile; ``zoom`` returns its halvings by the slide's description, below 0 where it has none."""

    def read() -> Any:
        slide = service.catalogue.by_id(slide_id)
        z = zoom(service.describe(slide))
        return None if z < 0 else service.look(pixels.tile, slide, z, x, y)

    content = await service.tile_line.call(read)
    if content is None:
        raise ProblemError(404, "no-tile", "the slide has no such tile")
    return Response(content, headers=_CACHED, media_type="image/jpeg")


def slide_out(service: Service, slide: FoundSlide, described: dict[str, Any] | None = None) -> SlideOut:
    """Describe a slide for clients; look into it unless a description is given."""
    at = href(f"/v1/slides/{slide.id}")
    links = [
        Link(rel="self", href=at, type="application/json"),
        Link(rel="thumbnail", href=f"{at}/thumbnail", type="image/jpeg"),
        Link(rel="deep-zoom", href=f"{at}/slide.dzi", type="application/xml"),
    ]
    try:
        described = described or service.describe(slide)
    except SlideError as error:
        described = {"error": str(error)}
    described = {key: value for key, value in described.items() if key != "until"}
    folder = "" if (above := PurePosixPath(slide.path).parent.as_posix()) == "." else above
    return SlideOut(id=slide.id, name=slide.name, root=slide.root, folder=folder, links=links, **described)
