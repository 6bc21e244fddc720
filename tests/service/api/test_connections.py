"""Connections that only wait: many of them stop nobody, and none lasts."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import pytest

import web
from live_server import Served, connected, write_slides
from wsi_segment.service.api.connections import HEAD_SECONDS
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys

SOFT = 1024
"""What most systems allow a service at first."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A server that asks for keys, started where 1,024 files are allowed unless a process asks for more."""
    folder = write_slides(tmp_path_factory.mktemp("crowded"))
    database = Database(folder / "data")
    database.migrate()
    token = Keys(database).create("anna", ["read"], None)
    database.close()
    served = Served(folder, "--workers", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, hard))
    try:
        served.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * SOFT)), hard))
    with ExitStack() as stack:
        stack.callback(served.__exit__)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        yield served, token


def test_the_server_takes_as_many_files_as_the_system_gives(crowded: tuple[Served, str]) -> None:
    served, _ = crowded
    assert served.process is not None
    limits = Path(f"/proc/{served.process.pid}/limits")
    if not limits.exists():
        pytest.skip("the system does not tell the limits of a process")
    line = next(line for line in limits.read_text().splitlines() if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard or int(soft) >= 65_536


def test_idle_connections_stop_no_request_with_a_key(crowded: tuple[Served, str]) -> None:
    served, token = crowded
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(connected(served))
        started = time.monotonic()
        answer = web.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert time.monotonic() - started < 20
        deadline = time.monotonic() + 20
        while "too many connections wait" not in served.log and time.monotonic() < deadline:
            time.sleep(0.1)
    deadline = time.monotonic() + 20
    while "few idle connections again" not in served.log and time.monotonic() < deadline:
        time.sleep(0.1)
    assert served.log.count("too many connections wait") == 1
    assert served.log.count("few idle connections again") == 1
    assert "Too many open files" not in served.log


@pytest.mark.parametrize("sent", [b"", b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_head_that_does_not_end_ends_the_connection(crowded: tuple[Served, str], sent: bytes) -> None:
    started = time.monotonic()
    with connected(crowded[0]) as connection:
        connection.sendall(sent)
        connection.settimeout(3 * HEAD_SECONDS)
        if sent:  # a byte now and then buys no time
            time.sleep(HEAD_SECONDS / 2)
            connection.sendall(b"X-A: b\r\n")
        assert connection.recv(1000) == b""
        assert HEAD_SECONDS - 2 < time.monotonic() - started < HEAD_SECONDS + 5


def test_a_connection_answers_again_and_again(crowded: tuple[Served, str]) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with connected(crowded[0]) as connection:
        for _ in range(3):
            connection.sendall(request)
            answer = HTTPResponse(connection)
            answer.begin()
            assert (answer.status, bool(answer.read())) == (200, True)
