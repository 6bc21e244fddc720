"""The one statement that SQLite and PostgreSQL spell alike but SQLAlchemy does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Insert the rows whose keys are missing, and return how many those are (for a single row)."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows)).rowcount
