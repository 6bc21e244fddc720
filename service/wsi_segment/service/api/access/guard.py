"""Checks that every request passes first: host, origin, key or session or signed address, and size of its body."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsi_segment.service.api.access.answering import Answer, answer_preflight
from wsi_segment.service.api.access.caller import NOBODY, SAFE, address_of, present_caller, set_caller
from wsi_segment.service.api.access.credentials import Credentials
from wsi_segment.service.api.access.prefix import set_prefix, without_prefix
from wsi_segment.service.api.observing.prometheus import Metrics
from wsi_segment.service.api.problems import ProblemError, internal_error, system_problem
from wsi_segment.service.jobs.actions import Actions
from wsi_segment.service.logs import request_id
from wsi_segment.service.settings import LOOPBACK

CORRECTIONS_LIMIT = 64 << 20
"""Bytes of the corrections of a slide."""

_LARGE = frozenset({"/v1/jobs", "/v1/batches"})
_SMALL = 64 << 10
"""Bytes of other requests, whose bodies the event loop reads."""

_TARGETS = ("job_id", "batch_id", "slide_id", "hook_id")

log = logging.getLogger("wsi_segment.service.access")


class Guard:
    """An ASGI layer around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        credentials: Credentials,
        actions: Actions,
        metrics: Metrics,
        hosts: Sequence[str],
        origins: Sequence[str],
        prefix: str,
        max_body: int,
        upload_limit: int,
    ) -> None:
        """Guard an application.

        Args:
            app: The application.
            credentials: Tells who a client is.
            actions: Records what clients change.
            metrics: Counts requests.
            hosts: Names that clients may use for this server, in addition to those of the loopback.
            origins: Origins of pages that may call, in addition to the server's own.
            prefix: Path before all addresses, where the proxy does not name one.
            max_body: Bytes that a job or a batch may have, counted as they come.
            upload_limit: The same for the upload of a slide.
        """
        self._app, self._credentials, self._actions, self._metrics = app, credentials, actions, metrics
        self._prefix, self._max_body, self._upload_limit = prefix, max_body, upload_limit or max_body
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, method = time.perf_counter(), scope["method"]
        token = request_id.set(secrets.token_hex(8))
        answer = Answer(send, method == "HEAD")
        set_caller(NOBODY)
        inner = self._below(scope)
        try:
            with answer.enough:
                await self._handle(inner, receive, answer)
        except ProblemError as error:
            with answer.enough:
                await error.response()(inner, receive, answer)
        except Exception as error:  # the boundary: a failed request is logged, and answered without the reason
            known = system_problem(error)
            if known is None:
                log.exception("the request failed")
            if not answer.started:
                with answer.enough:
                    await (known or internal_error()).response()(inner, receive, answer)
        finally:
            await self._record(inner, method, answer.status, time.perf_counter() - started)
            request_id.reset(token)

    def _below(self, scope: Scope) -> Scope:
        """Return the request as the application sees it: below the prefix, and a HEAD as the GET that it stands for.

        A path that a proxy has freed of the prefix gets it again, as ASGI asks for where ``root_path`` is set.
        """
        prefix = scope.get("root_path") or self._prefix
        path = without_prefix(scope["path"], prefix)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        set_prefix(prefix)
        return {**scope, "method": method, "root_path": prefix, "path": prefix + path, "state": {"path": path}}

    async def _handle(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        origin = headers.get("origin", "").lower()
        if origin in self._origins:
            answer.readable_from = headers["origin"]
            if scope["method"] == "OPTIONS":
                await answer_preflight(answer)
                return
        signed = self._credentials.open_signed(scope)
        if signed:
            answer.readable_from = "*"
        else:
            self._check_origin(headers)
        if self._credentials.is_open(scope["state"]["path"]):
            set_caller(self._credentials.identify(scope, headers, signed))
        else:
            set_caller(await anyio.to_thread.run_sync(self._credentials.identify, scope, headers, signed))
            if not signed:  # the caller is known by now: the log names who was refused
                self._credentials.check_scope(scope, present_caller())
        limit, received = self._limit(scope["state"]["path"]), 0

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"the body is larger than the {limit} bytes that are allowed")
            return message

        scope["state"]["client"] = present_caller().key
        await self._app(scope, receiving, answer)

    def _limit(self, path: str) -> int:
        """Bytes that a body may have: slides, outlines and tables are larger than other requests."""
        if path == "/v1/slides":
            return self._upload_limit
        if path.endswith("/corrections.geojson"):
            return max(self._max_body, CORRECTIONS_LIMIT)
        return self._max_body if path in _LARGE else min(self._max_body, _SMALL)

    def _check_host(self, headers: Headers) -> None:
        """Refuse DNS rebinding, for every method, with a key or without."""
        if _host_of(f"//{headers.get('host', '')}") not in self._hosts:
            raise ProblemError(400, "unknown-host", "this host name is not served; see `allowed_host`")

    def _check_origin(self, headers: Headers) -> None:
        """Refuse foreign pages, for every method, with a key or without."""
        origin = headers.get("origin")
        if origin is None or origin.lower() in self._origins:
            return
        if _host_of(origin) not in self._hosts or urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ProblemError(403, "foreign-origin", "pages of this origin may not call; see `allowed_origin`")

    async def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Write the line of the log and the metrics, and note who changed what."""
        route = getattr(scope.get("route"), "path", "other")
        caller, found = present_caller(), scope.get("path_params", {})
        target = next((str(found[name]) for name in _TARGETS if name in found), scope["state"].get("target", ""))
        self._metrics.request(method, route, status, seconds)
        said = {
            "key": caller.key,
            "client": caller.address or address_of(scope),
            "job": found.get("job_id", "") or scope["state"].get("target", ""),
            "fields": {"method": method, "route": route, "status": status, "ms": round(1000 * seconds)},
        }
        log.info("%s %s %d %.0f ms", method, route, status, 1000 * seconds, extra=said)
        if method not in SAFE and scope["state"].get("client") is not None:
            await anyio.to_thread.run_sync(self._actions.note, caller, f"{method} {route}", target, status)


def _host_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
