"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from live_server import fresh_database, postgresql, postgresql_programs
from tools import absent
from wsi_segment.service.jobs.database import Database


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server."""
    if postgresql_programs() is None:
        absent("PostgreSQL is not installed; `make tools` brings it")
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
