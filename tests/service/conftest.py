"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Served, fresh_database, postgresql, postgresql_programs, write_slides
from wsi_segment.service.database import Database


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server."""
    if postgresql_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind, brought up to date."""
    if request.param == "sqlite":
        made = Database(tmp_path)
    else:
        made = Database(tmp_path, fresh_database(request.getfixturevalue("postgresql_url"), tmp_path.name))
    made.migrate()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with two made slides and a cheap model."""
    folder = write_slides(tmp_path_factory.mktemp("served"), count=2)
    with Served(folder, "--upload-limit", "2MiB", "--workers", 1) as running:
        yield running
