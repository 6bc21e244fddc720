"""Web hooks: messages to the user's own server when jobs and batches end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from wsi_segment.errors import InputError
from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.access.prefix import href
from wsi_segment.service.api.bodies.requests import Id
from wsi_segment.service.api.problems import ProblemError, documented
from wsi_segment.service.api.responses import moment
from wsi_segment.service.api.service import Here, Service
from wsi_segment.service.hooks.hook_table import Hook
from wsi_segment.service.jobs.outbox import Counts, Type

router = APIRouter(prefix="/v1", tags=["hooks"], responses=documented())

HookId = Annotated[Id, Path(alias="hook_id")]


class HookRequest(BaseModel):
    """Where messages are wanted, and of what."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"url": "https://hooks.example/wsi"}]}
    )

    url: Annotated[
        str, Field(min_length=1, max_length=2000, description="of a host that the server's `hook_host` names")
    ]
    events: Annotated[
        list[Annotated[str, Field(pattern=r"^(job|batch)\.ended$")]],
        Field(min_length=1, max_length=2, description="job.ended, batch.ended or both"),
    ] = ["job.ended", "batch.ended"]


class HookOut(BaseModel):
    """A hook; messages that wait are tried for three days, and all are counted for 30."""

    id: Id
    url: str
    events: list[str]
    created: datetime
    waiting: int
    delivered: int
    given_up: int
    error: str = Field(description="why the last message failed; empty where it did not")


class NewHookOut(HookOut):
    """A hook that was made, with its secret."""

    secret: str = Field(description="whsec_ and base64, shown this once: receivers check signatures with it")


class HookList(BaseModel):
    """All hooks of the caller."""

    hooks: list[HookOut]


@router.post("/hooks", status_code=201, response_model=NewHookOut, responses=documented(403, 409, 422))
def post_hook(service: Here, request: Request, wanted: HookRequest) -> Response:
    """Have a message sent to an address whenever a job or batch that the caller may see ends."""
    if not service.settings.hook_host:
        raise ProblemError(403, "hooks-off", "this server sends no messages; see `hook_host`")
    if not present_caller().may("read"):
        raise ProblemError(403, "missing-scope", "the key lacks the scope 'read': there is nothing that it may be told")
    try:
        service.hook_hosts.target(wanted.url)
    except InputError as error:
        raise ProblemError(422, "invalid-hook", str(error)) from error
    events: list[Type] = [kind for kind in ("job.ended", "batch.ended") if kind in wanted.events]
    try:
        hook = service.hooks.create(present_caller().key, wanted.url, events, href(""))
    except InputError as error:
        raise ProblemError(409, "too-many-hooks", str(error)) from error
    request.state.target = hook.id
    made = NewHookOut(**_out(hook, Counts()).model_dump(), secret=service.hooks.secret_text(hook.id))
    headers = {"Location": href(f"/v1/hooks/{hook.id}"), "Cache-Control": "no-store"}
    return JSONResponse(made.model_dump(mode="json"), 201, headers)


@router.get("/hooks", response_model=HookList)
def list_hooks(service: Here) -> HookList:
    """List the hooks of the caller, the oldest first."""
    found = service.hooks.listed(_keys(service))
    counts = service.outbox.counts([hook.id for hook in found])
    return HookList(hooks=[_out(hook, counts[hook.id]) for hook in found])


@router.get("/hooks/{hook_id}", response_model=HookOut, responses=documented(404))
def get_hook(service: Here, hook_id: HookId) -> HookOut:
    """Return a hook, and what became of its messages."""
    hook = _hook(service, hook_id)
    return _out(hook, service.outbox.counts([hook.id])[hook.id])


@router.delete("/hooks/{hook_id}", status_code=204, response_class=Response, responses=documented(404))
def delete_hook(service: Here, hook_id: HookId) -> Response:
    """Remove a hook; messages that wait for it are not sent any more."""
    service.hooks.delete(_hook(service, hook_id).id)
    return Response(status_code=204)


@router.post("/hooks/{hook_id}/ping", status_code=202, response_model=HookOut, responses=documented(404))
def ping_hook(service: Here, hook_id: HookId) -> HookOut:
    """Send a message of the type ``ping``, by which a receiver can be tried; the hook tells how it went."""
    hook = _hook(service, hook_id)
    service.outbox.ping(hook.id)
    return _out(hook, service.outbox.counts([hook.id])[hook.id])


def _hook(service: Service, hook_id: str) -> Hook:
    hook = service.hooks.get(hook_id)
    if hook is None or hook.key not in _keys(service):
        raise ProblemError(404, "unknown-hook", f"hook {hook_id} is unknown; GET /v1/hooks lists all")
    return hook


def _keys(service: Service) -> frozenset[str]:
    """Return the names of the caller's keys: an address may hold a password of its receiver, and is for nobody else."""
    caller = present_caller()
    return service.keys.names_of(caller.owner) if caller.key else frozenset({""})


def _out(hook: Hook, counts: Counts) -> HookOut:
    return HookOut(
        id=hook.id,
        url=hook.url,
        events=list(hook.events),
        created=moment(hook.created),
        waiting=counts.waiting,
        delivered=counts.delivered,
        given_up=counts.given_up,
        error=counts.error,
    )
