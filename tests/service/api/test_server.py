"""What arrives on the socket and is not a request that a client would send."""

from __future__ import annotations

import json
import time

import pytest

from live_server import Served, connected


def test_the_longest_paths_that_are_allowed_are_answered(served: Served) -> None:
    """In pieces, as a network brings them: a request that arrives whole is never too long."""
    character = "%F0%9F%94%AC"
    line = f"GET /v1/slides?prefix={character * 4096}&path={character * 4096} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connected(served) as connection:
        for start in range(0, len(line), 20_000):
            connection.sendall(line[start : start + 20_000].encode())
            time.sleep(0.05)
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "sent", ["no HTTP at all", "GET /v1/slides HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer \x0b"]
)
def test_what_is_no_request_is_a_problem_too(served: Served, sent: str) -> None:
    with connected(served) as connection:
        connection.sendall(f"{sent}\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:wsi-segment:problem:malformed-request"


def test_a_body_that_is_torn_after_the_answer_ends_the_connection(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(
            b"GET /v1/slides?page_size=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"no chunk\r\n")
        while connection.recv(4096):
            pass
    assert "LocalProtocolError" not in served.log
