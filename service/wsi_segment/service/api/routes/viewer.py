"""The viewer: a page for browsers at ``/``, and the files that it is made of."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.api.viewing.viewer_files import CSP, PATH, viewer_files

router = APIRouter(include_in_schema=False)

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


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
