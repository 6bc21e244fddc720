"""A real S3 emulator, and a proxy before it that counts requests and spoils some of them."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

VARIABLES = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}

Fault = Callable[[int, str, str], str | None]
"""From the request's number, method and path to ``403``, ``503``, ``done but 500``, ``cut``, ``silence``, or None."""


@dataclass
class Bucket:
    """A bucket as a program sees it: through the proxy."""

    name: str
    direct: str
    """Where the emulator is."""
    port: int
    """Of the proxy."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path, with its query, of each request through the proxy."""
    sent: int = 0
    """Bytes of all answers to GET through the proxy."""
    sent_of: Counter[str] = field(default_factory=Counter)
    """The same by the last part of the path."""
    fault: Fault = lambda number, method, path: None
    seconds: float = 30.0
    """Of silence."""

    @property
    def environment(self) -> dict[str, str]:
        """Return what a program is told."""
        return VARIABLES | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    @property
    def client(self) -> Any:
        """Return a client that goes past the proxy."""
        return self.client_of("s3")

    def client_of(self, service: str) -> Any:
        """Return a client of one of the emulator's services."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.direct,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Return every object by the rest of its name."""
        found = {}
        client = self.client
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for one in page.get("Contents", ()):
                body = client.get_object(Bucket=self.name, Key=one["Key"])["Body"].read()
                found[one["Key"].removeprefix(prefix)] = body
        return found

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def made(self, method: str, pattern: str) -> int:
        """Count the requests through the proxy whose path matches."""
        return sum(one == method and bool(re.search(pattern, path)) for one, path in self.requests)


def _handler(bucket: Bucket, upstream: tuple[str, int]) -> type[BaseHTTPRequestHandler]:
    counting, conditional = (
        threading.Lock(),
        threading.Lock(),
    )  # S3 compares and writes in one step; the emulator's threads may come in between

    class Spoiling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a body waits 40 ms for its headers to be acknowledged

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with counting:
                bucket.requests.append((self.command, self.path))
                number = len(bucket.requests)
            fault = bucket.fault(number, self.command, self.path)
            if fault == "silence":
                time.sleep(bucket.seconds)
            if fault in ("403", "503"):
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = HTTPConnection(*upstream, timeout=60)
            signed = dict(self.headers.items())  # its host too
            compares = "If-None-Match" in self.headers or "If-Match" in self.headers
            with conditional if compares and self.command == "PUT" else nullcontext():
                connection.request(self.command, self.path, body=body or None, headers=signed)
                response = connection.getresponse()
                content = response.read()
            connection.close()
            if self.command == "GET":
                with counting:
                    bucket.sent += len(content)
                    bucket.sent_of[self.path.partition("?")[0].rpartition("/")[2]] += len(content)
            self.send_response(500 if fault == "done but 500" else response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
            self.close_connection = fault == "cut"

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Not in the tests' output."""

    return Spoiling


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


@contextmanager
def emulated() -> Iterator[Bucket]:
    """Run the emulator with one bucket, and the proxy; the environment points to the proxy."""
    moto = pytest.importorskip("moto.server", reason="the S3 emulator is in the extra [test]")
    pytest.importorskip("obstore", reason="object stores need the extra [remote]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Bucket("slides-and-masks", f"http://{host}:{port}", 0)
    bucket.client.create_bucket(Bucket=bucket.name)
    for name in bucket.names():  # the emulator keeps what an earlier one of the same process held
        bucket.client.delete_object(Bucket=bucket.name, Key=name)
    proxy = _Proxy(("127.0.0.1", 0), _handler(bucket, (host, port)))
    bucket.port = proxy.server_port
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in bucket.environment.items():
            environment.setenv(name, value)
        try:
            yield bucket
        finally:
            proxy.shutdown()
            proxy.server_close()
            thread.join()
            server.stop()
