"""The application on a socket, until a signal comes."""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from wsi_segment.service.api.app import make_app
from wsi_segment.service.api.connections import MOST_IDLE, Connections, raise_file_limit
from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.api.service import Service
from wsi_segment.service.settings import is_prefix

_GRACE_SECONDS = 5
_LONGEST_END_SECONDS = 13.0
"""Seconds from the signal to the end; a service manager kills after 15 or more."""
_PREFIX_HEADER = b"x-forwarded-prefix"
_REQUEST_HEAD_BYTES = 128 * 1024
"""The longest request line and headers: two paths of 4,096 characters, each of four bytes in percent encoding, fit."""

log = logging.getLogger(__name__)


def serve(service: Service) -> None:
    """Answer requests until SIGTERM or Ctrl-C, and raise the signal again when all is done."""
    settings = service.settings
    app = _Forwarded(cast(Any, make_app(service)), list(settings.trusted_proxy))
    connections = Connections(cast(Any, app.trusted_hosts), min(MOST_IDLE, raise_file_limit() // 2))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=cast(Any, partial(_Http, connections)),
        h11_max_incomplete_event_size=_REQUEST_HEAD_BYTES,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        proxy_headers=False,  # see _Forwarded
    )
    _Server(config, service).run()


class _Http(H11Protocol):
    """Answers what is not HTTP with a problem document; uvicorn's own answer is plain text.

    A connection counts as idle from its start and from each answer on, until the head of a request is complete.
    """

    def __init__(self, connections: Connections, **more: Any) -> None:
        super().__init__(**more)
        self._idle = connections

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._idle.forget(self)

    def on_response_complete(self) -> None:
        if not self.transport.is_closing():
            self._wait_for_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.forget(self)
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._idle.wait_for_head(self, self.client[0] if self.client else "", self.transport.close)

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer is under way, or was given
            detail = (
                "this cannot be read as HTTP/1.1: a control character in a header, a head over 128 KiB, or a torn body"
            )
            safe = {"Connection": "close", "X-Content-Type-Options": "nosniff"}
            answer = ProblemError(400, "malformed-request", detail, safe).response()
            for event in (
                h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Forwarded(ProxyHeadersMiddleware):
    """Believes a named proxy how clients came: address, scheme, and the path that stands before the server's own."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and client[0] in self.trusted_hosts:
            said = [value.decode("latin1").rstrip("/") for name, value in scope["headers"] if name == _PREFIX_HEADER]
            if len(said) == 1 and is_prefix(said[0]):
                scope["root_path"] = said[0]
        await super().__call__(scope, receive, send)


class _Server(uvicorn.Server):
    """Ends the streams of events first, since they would keep the server waiting, while the workers stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._feed, self._supervisor = service.feed, service.supervisor

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            threading.Thread(target=self._supervisor.stop, name="stop workers", daemon=True).start()
            threading.Thread(target=self._end_in_time, name="end in time", daemon=True).start()
        self._feed.close()
        super().handle_exit(sig, frame)

    def _end_in_time(self) -> None:
        """End the process, whatever in it hangs: this thread does not outlive a server that ends by itself."""
        time.sleep(_LONGEST_END_SECONDS)
        log.error("the server did not end in %g s: something hangs; it is cut off", _LONGEST_END_SECONDS)
        self._supervisor.kill()
        os._exit(1)
