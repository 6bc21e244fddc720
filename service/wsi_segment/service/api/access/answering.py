"""What every answer carries, and what becomes of a HEAD."""

from __future__ import annotations

from http import HTTPStatus

import anyio
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.logs import request_id

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_EXPOSED = "Location, ETag, Content-Range, X-Request-Id"


class Answer:
    """Sends an answer with the headers that all have, and remembers how it went."""

    def __init__(self, send: Send, head_only: bool) -> None:
        """Prepare an answer.

        Args:
            send: Of the server.
            head_only: Whether the client wants no body: the application is stopped once it has sent its headers.
        """
        self._send, self._head_only = send, head_only
        self.status, self.started = 500, False
        self.readable_from = ""
        """Origin of a foreign page that may read the answer; ``*`` for any, empty for none."""
        self._plain: Message | None = None
        self.enough = anyio.CancelScope()

    async def __call__(self, message: Message) -> None:
        """Send a message of the application."""
        if self._plain is not None and message["type"] == "http.response.body":
            start, self._plain = self._plain, None
            await self._send_problem(start, message.get("body", b"").decode("utf-8", "replace"))
        elif message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            kind = MutableHeaders(scope=message).get("content-type", "")
            if message["status"] >= 400 and kind.startswith("text/plain"):  # of a library, as for a wrong range
                self._plain = message
                return
            self._complete(MutableHeaders(scope=message))
            await self._send(message)
            if self._head_only:
                await self._send({"type": "http.response.body", "body": b""})
                self.enough.cancel()
        elif not self._head_only:
            await self._send(message)

    async def _send_problem(self, start: Message, said: str) -> None:
        """Send an error of a library as a problem document."""
        status, headers = start["status"], MutableHeaders(scope=start)
        size = headers.get("content-range", "").removeprefix("bytes ")
        more = {"Content-Range": f"bytes {size}"} if size else {}  # RFC 9110, 14.4
        kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
        detail = said or ("the range lies beside the file" if status == 416 else kind)
        answer = ProblemError(status, kind, detail, more).response()
        await self({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
        await self({"type": "http.response.body", "body": bytes(answer.body)})

    def _complete(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = request_id.get()
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self.readable_from:
            headers["access-control-allow-origin"] = self.readable_from
            headers["access-control-expose-headers"] = _EXPOSED
            headers["cross-origin-resource-policy"] = "cross-origin"
            if self.readable_from != "*":
                headers.add_vary_header("Origin")


async def answer_preflight(send: Send) -> None:
    """Answer a browser that asks whether a page of an allowed origin may send its request."""
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
