"""Every error as a problem document (RFC 9457), without anything internal."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from wsi_segment.errors import SlideError
from wsi_segment.service.api.bodies.aside import UnsoundError
from wsi_segment.service.folders.file_looks import HangsError
from wsi_segment.service.folders.root_watch import RootAwayError
from wsi_segment.service.folders.uploads import NoRoomError
from wsi_segment.service.full_disk import is_disk_full
from wsi_segment.service.jobs.database import is_away
from wsi_segment.service.workers.slide_catalogue import UnknownSlideError
from wsi_segment.service.workers.slide_pool import BusyError
from wsi_segment.service.workers.trusted_models import UnknownModelError

MEDIA_TYPE = "application/problem+json"
_SHORT = 100

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """An error that is answered as a problem."""

    def __init__(self, status: int, kind: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        """Describe a problem.

        Args:
            status: HTTP status.
            kind: Stable name for programs, such as ``unknown-job``.
            detail: One sentence for people, with the remedy.
            headers: Further headers of the answer.
            more: Further members of the document.
        """
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers, self.more = status, kind, detail, headers, more

    def response(self) -> Response:
        """Return the problem as an HTTP answer."""
        document = {
            "type": f"urn:wsi-segment:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return Response(json.dumps(document), self.status, self.headers, MEDIA_TYPE)


class NothingMoreError(Exception):
    """A stream of events has ended and the client has seen all of it: 204 keeps a browser from asking again."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route, for OpenAPI: these, and those that every route can give."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = {400, 401, 403, 405, 413, 422, 500, *statuses}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(every)}


def followed() -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a stream of events; see :class:`NothingMoreError`."""
    return {204: {"description": "it has ended, and all of it was seen"}} | documented(404)


def answers(media_types: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with other media types, separated by commas, than JSON."""
    content: dict[str, Any] = {one.strip(): {} for one in media_types.split(",")}
    return {200: {"content": content, "description": "OK"}} | documented(*statuses)


def created(*statuses: int, **links: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that creates something; see :func:`documented` and :func:`link`."""
    location = {"description": "of what was created", "schema": {"type": "string"}}
    made = {"description": "Created", "headers": {"Location": location}, "links": links}
    return {201: made} | documented(*statuses)


def linked(links: dict[str, Any], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route whose answer links to others; see :func:`documented` and :func:`link`."""
    return {200: {"description": "OK", "links": links}} | documented(*statuses)


def link(method: str, path: str, source: str = "id") -> dict[str, Any]:
    """Return a link from an answer to the next request, for OpenAPI.

    Args:
        method: Method of the next request.
        path: Path of its route, with one parameter.
        source: JSON pointer to that parameter in the answer.
    """
    name = path.partition("{")[2].partition("}")[0]
    reference = f"#/paths/{path.replace('/', '~1')}/{method}"
    return {"operationRef": reference, "parameters": {name: f"$response.body#/{source}"}}


def media_type(request: Request, what: str, *known: str) -> str:
    """Return the media type of a body.

    Args:
        request: The request.
        what: What its body is, for the message.
        known: Media types that it can have.

    Raises:
        ProblemError: it has another one.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in known:
        raise ProblemError(415, "unsupported-media-type", f"{what} is {' or '.join(known)}")
    return kind


def install(app: FastAPI) -> None:
    """Answer all errors of an application as problems."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return error.response()

    @app.exception_handler(NothingMoreError)
    async def on_nothing_more(request: Request, error: NothingMoreError) -> Response:
        return Response(status_code=204)

    @app.exception_handler(UnknownSlideError)
    async def on_unknown_slide(request: Request, error: UnknownSlideError) -> Response:
        return ProblemError(404, "unknown-slide", str(error)).response()

    @app.exception_handler(UnknownModelError)
    async def on_unknown_model(request: Request, error: UnknownModelError) -> Response:
        return ProblemError(404, "unknown-model", str(error)).response()

    @app.exception_handler(BusyError)
    async def on_busy(request: Request, error: BusyError) -> Response:
        return ProblemError(503, "busy", str(error), {"Retry-After": "1"}).response()

    @app.exception_handler(RootAwayError)
    async def on_root_away(request: Request, error: RootAwayError) -> Response:
        return ProblemError(503, "root-away", str(error), {"Retry-After": "10"}).response()

    @app.exception_handler(HangsError)
    async def on_hanging(request: Request, error: HangsError) -> Response:
        return ProblemError(503, "root-away", "a folder does not answer", {"Retry-After": "10"}).response()

    @app.exception_handler(NoRoomError)
    async def on_no_room(request: Request, error: NoRoomError) -> Response:
        detail = "all uploads together are as large as they may be; remove some, or see `uploads_total`"
        return ProblemError(507, "no-room", detail).response()

    for kind in (SQLAlchemyError, OSError):
        app.add_exception_handler(kind, on_system_error)

    @app.exception_handler(SlideError)
    async def on_slide_error(request: Request, error: SlideError) -> Response:
        return ProblemError(422, "unusable-slide", str(error)).response()

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(request))
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        detail = {404: "nothing is here; /docs lists the routes", 405: f"{request.method} is not possible here"}
        said = detail.get(error.status_code, str(error.detail))
        return ProblemError(error.status_code, kind, said, headers).response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return _invalid(error.errors()).response()

    @app.exception_handler(ClientDisconnect)
    async def on_cut_off(request: Request, error: ClientDisconnect) -> Response:
        return ProblemError(400, "cut-off", "the connection ended before the body did").response()

    @app.exception_handler(UnsoundError)
    async def on_unsound(request: Request, error: UnsoundError) -> Response:
        return _invalid(error.problems).response()

    @app.exception_handler(Exception)
    async def on_unexpected(request: Request, error: Exception) -> Response:
        return internal_error().response()


async def on_system_error(request: Request, error: Exception) -> Response:
    """Answer an error of the database or of a disk; raise again what is neither away nor full."""
    found = system_problem(error)
    if found is None:
        raise error
    return found.response()


def system_problem(error: Exception) -> ProblemError | None:
    """Return what to answer where the database is away or a disk is full; None for any other error."""
    if is_disk_full(error):
        return ProblemError(507, "disk-full", "the disk is full, or a quota is used up; try again when there is room")
    if is_away(error):
        return ProblemError(503, "database-away", "the database does not answer; try again", {"Retry-After": "5"})
    return None


def internal_error() -> ProblemError:
    """Return the answer to an unexpected error."""
    return ProblemError(500, "internal-error", "the server failed; its log says more, by the request id")


def _invalid(found: Sequence[Mapping[str, Any]]) -> ProblemError:
    """Return the answer to a request of which pydantic found something wrong."""
    errors = [
        {"where": ".".join(str(part) for part in one["loc"]), "detail": one["msg"][:_SHORT]} for one in found[:_SHORT]
    ]
    first = errors[0]
    return ProblemError(422, "invalid-request", f"{first['where']}: {first['detail']}", errors=errors)


def _methods(request: Request) -> list[str]:
    """Return all methods of a path: each of them is a route of its own."""
    found = {
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))
