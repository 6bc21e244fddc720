"""The viewer: a page for browsers at ``/``, the files that it is made of, and what it asks for first."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.errors import SlideError
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.problems import ProblemError, documented
from wsi_segment.service.api.responses import JobOut, SlideOut, TilesOut
from wsi_segment.service.api.routes.jobs import JobId, shown_jobs
from wsi_segment.service.api.routes.partial_results import partial_table
from wsi_segment.service.api.routes.slides import slide_out
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.api.viewing.viewer_files import CSP, PATH, viewer_files
from wsi_segment.service.folders.file_looks import HangsError
from wsi_segment.service.folders.root_watch import RootAwayError
from wsi_segment.service.jobs.job_table import ENDED
from wsi_segment.service.workers.slide_catalogue import UnknownSlideError

router = APIRouter(include_in_schema=False)
views = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"], responses=documented(404))

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class ViewOut(BaseModel):
    """What a viewer must know of a job's mask, finished or growing."""

    job: JobOut
    slide: SlideOut | None = Field(description="null where it does not lie under a root that is there")
    tiles: TilesOut | None = Field(description="as tiles.json; null while nothing of the mask is there")


@views.get("/view", response_model=ViewOut)
def get_view(service: Here, job_id: JobId) -> ViewOut:
    """Return a job, its slide and the table of its tiles in one answer: those of `results`, or `partial` until it ends.

    A page can draw nothing before it has them, and would ask for one after the other.
    """
    job = service.job(job_id)
    ended = job.status in ENDED
    table = service.masks.table(service.result(job_id)[1].store) if ended else partial_table(service, job_id)
    try:
        slide = slide_out(service, service.catalogue.by_id(job.slide))
    except (UnknownSlideError, SlideError, RootAwayError, HangsError):
        slide = None
    return ViewOut(job=shown_jobs(service, [job])[0], slide=slide, tiles=table)


@router.get("/")
def home(service: Here, request: Request) -> Response:
    """Return the viewer to a browser, and to any other client where to start."""
    headers = {"Vary": "Accept, Cookie", "Cache-Control": "no-cache"}
    if "text/html" in request.headers.get("accept", ""):
        page = viewer_files().page_under(href(""), entered=_may_enter(service, request))
        return HTMLResponse(page, headers={**headers, "Content-Security-Policy": CSP})
    content = {
        "service": "wsi-segment",
        "documentation": href("/docs"),
        "slides": href("/v1/slides"),
        "jobs": href("/v1/jobs"),
    }
    return JSONResponse(content, headers=headers)


@router.get(f"{PATH}/{{digest}}/{{name:path}}")
async def viewer_file(digest: str, name: str) -> Response:
    """Return a file of the viewer, under an address that changes with it."""
    found = viewer_files()
    if digest != found.digest or name not in found.content:
        raise ProblemError(404, "not-found", "nothing is here; reload the page")
    return Response(found.content[name], headers=_FOR_EVER, media_type=found.media_type(name))


def _may_enter(service: Service, request: Request) -> bool:
    """Return whether a browser can look without signing in first; the page is answered to everybody."""
    try:
        if not service.asks_for_keys:
            return True
        cookie = service.sessions.cookie_of(request.headers.get("cookie", ""))
        return cookie is not None and service.sessions.key_of(cookie) is not None
    except SQLAlchemyError:  # the page says by itself that the server is away
        return False
