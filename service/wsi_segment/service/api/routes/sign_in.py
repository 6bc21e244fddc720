"""Sessions of browsers, and addresses that open something without a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.requests import Id, Whole
from wsi_segment.service.api.problems import ProblemError, documented
from wsi_segment.service.api.responses import Link, moment
from wsi_segment.service.api.service import Here

router = APIRouter(prefix="/v1", tags=["access"], responses=documented())

_DAY = 86400


class SignIn(BaseModel):
    """A key to be exchanged for a session."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(min_length=1, max_length=200)]


class SessionOut(BaseModel):
    """Who the client is to this server."""

    key_needed: bool = Field(description="whether this server asks for keys")
    signed_in: bool = Field(description="whether the request came with a key or a session that is valid")
    name: str = Field(description="of the key; empty without one")
    owner: str = Field(description="who has the key")
    scopes: list[str]
    csrf_token: str = Field(description="sent as X-CSRF-Token by requests with a session that change something")


class LinkRequest(BaseModel):
    """What to sign an address for: a slide, or the results of a job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["slide", "results"]
    id: Annotated[Id, Field(description="of the slide, or of the job that has the results")]
    seconds: Annotated[int, Field(ge=1, le=30 * _DAY, description="until the address expires"), Whole] = 3600


class SignedOut(BaseModel):
    """Addresses that whoever has them can read, until they expire."""

    expires: datetime
    links: list[Link]


@router.post("/session", response_model=SessionOut, responses=documented(401))
def sign_in(service: Here, request: Request, wanted: SignIn) -> Response:
    """Exchange a key for a session of this browser: a cookie that no script can read, for twelve hours."""
    key = service.keys.check(wanted.key.strip())
    if key is None:
        raise ProblemError(401, "unauthorized", "the key is unknown, was revoked, or has expired")
    session = service.sessions.start(key)
    content = SessionOut(
        key_needed=True,
        signed_in=True,
        name=key.name,
        owner=key.owner,
        scopes=list(key.scopes),
        csrf_token=session.csrf,
    )
    answer = JSONResponse(content.model_dump(), headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        service.sessions.cookie_name,
        session.cookie,
        expires=moment(session.expires),
        path=href("/"),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.get("/session", response_model=SessionOut)
def get_session(service: Here) -> Response:
    """Return who the client is, and whether it needs a key; open to everybody."""
    caller = present_caller()
    content = SessionOut(
        key_needed=service.asks_for_keys,
        signed_in=bool(caller.scopes),
        name=caller.key,
        owner=caller.owner,
        scopes=sorted(caller.scopes),
        csrf_token="" if caller.session is None else service.sessions.csrf(caller.session),
    )
    return JSONResponse(content.model_dump(), headers={"Cache-Control": "no-store"})


@router.delete("/session", status_code=204, response_class=Response)
def sign_out(service: Here, request: Request) -> Response:
    """End the session of this browser."""
    cookie = service.sessions.cookie_of(request.headers.get("cookie", ""))
    if cookie is not None:
        service.sessions.end(cookie)
    answer = Response(status_code=204)
    answer.delete_cookie(service.sessions.cookie_name, path=href("/"), httponly=True, samesite="strict")
    return answer


@router.post("/links", response_model=SignedOut, responses=documented(404))
def sign_links(service: Here, wanted: LinkRequest) -> SignedOut:
    """Sign addresses of a slide or a result for an ``<img>`` or another viewer that cannot send a key.

    They read and change nothing, expire, and end with the key that they were made with. Whatever lies beside them
    (tiles of a DZI, chunks of a store) is opened too.
    """
    if wanted.kind == "slide":
        below = f"/v1/slides/{service.catalogue.by_id(wanted.id).id}"
        offered = {
            "self": ("", "application/json"),
            "thumbnail": ("/thumbnail", "image/jpeg"),
            "deep-zoom": ("/slide.dzi", "application/xml"),
        }
    else:
        job, files = service.result(wanted.id)
        below = f"/v1/jobs/{job.id}/results"
        offered = {
            "self": ("", "application/json"),
            "mask": ("/zarr", "application/json"),
            "objects": ("/objects.geojson", "application/geo+json"),
            "tiles": ("/tiles.json", "application/json"),
            "summary": ("/summary.json", "application/json"),
        }
        if files.preview.exists():
            offered["preview"] = ("/preview.png", "image/png")
    before, grant = service.links.sign(below, present_caller().key, wanted.seconds)
    return SignedOut(
        expires=moment(grant.expires),
        links=[Link(rel=rel, href=href(f"{before}{below}{path}"), type=kind) for rel, (path, kind) in offered.items()],
    )
