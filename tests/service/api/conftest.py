"""What tests of the HTTP interface share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import web
from live_server import Served


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with web.client(base_url=served.url) as client:
        yield client


@pytest.fixture(scope="module")
def store(served: Served, done: str) -> Path:
    return served.data / "results" / done / "mask.zarr"
