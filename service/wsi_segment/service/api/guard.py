"""Checks that every request passes first (host, origin, key), and headers that every answer carries."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsi_segment.service.api.problems import ProblemError, internal_error, system_problem
from wsi_segment.service.api.prometheus import Metrics
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.logs import request_id
from wsi_segment.service.settings import LOOPBACK

_OPEN = ("/health/",)
"""Paths that need no key: they say whether the server works, and if not, why, without figures or names."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

CORRECTIONS_LIMIT = 64 << 20
"""Bytes of the corrections of a slide."""

_SENT_HEADERS = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Range",
)  # fmt: skip

log = logging.getLogger("wsi_segment.service.access")


class Guard:
    """An ASGI layer around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        always_key: bool,
        metrics: Metrics,
        hosts: Sequence[str],
        origins: Sequence[str],
        max_body: int,
        upload_limit: int,
    ) -> None:
        """Guard an application.

        Args:
            app: The application.
            keys: Once one was created, every request needs one.
            always_key: Whether a request needs one even before.
            metrics: Counts requests.
            hosts: Names that clients may use for this server, in addition to those of the loopback.
            origins: Origins of pages that may call, in addition to the server's own.
            max_body: Bytes that a request may have, counted as they come.
            upload_limit: The same for the upload of a slide.
        """
        self._app, self._keys, self._always_key, self._metrics = app, keys, always_key, metrics
        self._max_body, self._upload_limit = max_body, upload_limit or max_body
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, answering = time.perf_counter(), 500, False
        token = request_id.set(secrets.token_hex(8))
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")

        async def sending(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                answering, status = True, message["status"]
                answer = MutableHeaders(scope=message)
                answer["x-request-id"] = request_id.get()
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if origin.lower() in self._origins:
                    answer["access-control-allow-origin"] = origin
                    answer["access-control-expose-headers"] = "Location, ETag, Content-Range, X-Request-Id"
                    answer["cross-origin-resource-policy"] = "cross-origin"
                    answer.add_vary_header("Origin")
            await send(message)

        limit, received = self._limit(scope["path"]), 0

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"the body is larger than the {limit} bytes that are allowed")
            return message

        try:
            self._check_host(headers)
            if scope["method"] == "OPTIONS" and origin.lower() in self._origins:
                await _preflight(sending)
                return
            client = await self._check_key(scope, headers)
            scope.setdefault("state", {})["client"] = client
            await self._app(scope, receiving, sending)
        except ProblemError as error:
            await error.response()(scope, receive, sending)
        except Exception as error:  # the boundary: a failed request is logged, and answered without the reason
            known = system_problem(error)
            if known is None:
                log.exception("the request failed")
            if not answering:
                await (known or internal_error()).response()(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(scope["method"], route, status, seconds)
            log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * seconds)
            request_id.reset(token)

    def _limit(self, path: str) -> int:
        """Bytes that a body may have: slides and outlines are larger than requests."""
        if path == "/v1/slides":
            return self._upload_limit
        return max(self._max_body, CORRECTIONS_LIMIT) if path.endswith("/corrections.geojson") else self._max_body

    def _check_host(self, headers: Headers) -> None:
        """Refuse DNS rebinding and foreign pages, for every method, with a key or without."""
        host = _host_of(f"//{headers.get('host', '')}")
        if host not in self._hosts:
            raise ProblemError(400, "unknown-host", "this host name is not served; see `allowed_host`")
        origin = headers.get("origin")
        if origin is None or origin.lower() in self._origins:
            return
        if _host_of(origin) not in self._hosts or urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ProblemError(403, "foreign-origin", "pages of this origin may not call; see `allowed_origin`")

    async def _check_key(self, scope: Scope, headers: Headers) -> str:
        path = scope["path"]
        if path.startswith(_OPEN):
            return ""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            if self._always_key or await anyio.to_thread.run_sync(self._keys.any_made):
                raise _unauthorized("this server asks for a key: send Authorization: Bearer …")
            return ""
        key = await anyio.to_thread.run_sync(self._keys.check, token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise _unauthorized("the key is unknown, was revoked, or has expired")
        needed = "metrics" if path == "/metrics" else "read" if scope["method"] in _SAFE else "write"
        if needed not in key.scopes:
            raise ProblemError(403, "missing-scope", f"the key lacks the scope {needed!r}")
        return key.name


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="wsi-segment"'})


def _host_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


async def _preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
        (
            b"access-control-allow-headers",
            b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Range",
        ),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
