"""The database: SQLite in the data folder, or PostgreSQL by URL."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wsi_segment.errors import InputError
from wsi_segment.extras import how_to_install
from wsi_segment.service.full_disk import is_disk_full
from wsi_segment.service.jobs.job_rows import write_json
from wsi_segment.service.jobs.tables import VERSION

SQLITE_FILE = "jobs.sqlite"
_MIGRATIONS = Path(__file__).parent / "migrations"
_NETWORK_FILES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "ceph", "lustre", "gpfs"}
_BUSY_SECONDS = 30
_POOL_SECONDS = 10
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Times after which libpq gives up a server that does not answer: seconds, but the last in milliseconds."""
_WRITERS_LOCK = 0x77736973
"""Key of the advisory lock that PostgreSQL's writers share; any number of our own."""

log = logging.getLogger(__name__)
Value = TypeVar("Value")


def in_parts(values: Sequence[Value], size: int) -> Iterator[Sequence[Value]]:
    """Yield values a few at a time, since a statement takes a limited number of them.

    >>> list(in_parts("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Database:
    """Connections to the one database; safe to use from several threads."""

    def __init__(self, data: Path, url: str | None = None, *, talks: bool = True) -> None:
        """Connect; nothing is changed, see :meth:`migrate`.

        Args:
            data: The service's folder, where an SQLite file lies too; made where it is missing.
            url: ``postgresql://user:password@host/name``, or None for SQLite.
            talks: Whether the log says that the database is away or back; one process of a server does.

        Raises:
            InputError: the URL is wrong, the folder cannot be written to, or lies on a network file system.
        """
        self.file: Path | None = None
        self._talks, self._away = talks, False
        _prepare(data)
        if url is None:
            _refuse_network(data)
            self.file = data / SQLITE_FILE
            self._engine = create_engine(
                f"sqlite:///{self.file}", json_serializer=write_json, connect_args={"timeout": _BUSY_SECONDS}
            )
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = _postgresql(url)
            event.listen(self._engine, "begin", _begin_postgresql)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is committed at the end.

        Writers take their turns, on PostgreSQL too: no deadlocks, and numbers become visible in their order.
        """
        with self._watched(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._watched(), self._engine.connect().execution_options(reads=True) as connection:
            yield connection

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say once that the database is away, and once that it is back."""
        try:
            yield
        except SQLAlchemyError as error:
            if is_away(error) and not self._away:
                self._away = True
                if self._talks:
                    log.warning("the database is away, jobs wait: %s", _first_line(error))
            raise
        if self._away:
            self._away = False
            if self._talks:
                log.warning("the database is back")

    def migrate(self) -> None:
        """Bring the tables to this version; an SQLite file that holds an older one is copied first.

        Raises:
            InputError: the database cannot be reached, or is of a newer version.
        """
        try:
            before = self.version()
        except SQLAlchemyError as error:
            raise InputError(f"the database cannot be reached: {_first_line(error)}; see `database`") from error
        if before == VERSION:
            return
        from alembic import command  # takes half a second to load, which most starts are spared
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        script = ScriptDirectory.from_config(config)
        if before is not None and before not in {one.revision for one in script.walk_revisions()}:
            raise InputError(f"the database is of a newer version ({before}); update wsi-segment")
        if before is not None and self.file is not None:
            self._copy(self.file.with_name(f"{SQLITE_FILE}.before-{VERSION}"))
        with self._engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def version(self) -> str | None:
        """Return the version of the tables, or None where none exist yet."""
        with self.read() as connection:
            return version_of(connection)

    def state(self) -> str:
        """Return the kind of database and the version of its tables, for people."""
        version = self.version()
        return f"{self._engine.dialect.name}, " + (f"tables of version {version}" if version else "no tables yet")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _copy(self, target: Path) -> None:
        assert self.file is not None
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)


def version_of(connection: Connection) -> str | None:
    """Return the version of the tables of a database, or None where none exist yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions start below, not in the driver
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where a transaction writes: one that had read first could not wait for it."""
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if not connection.get_execution_options().get("reads", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def _prepare(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix" and data.stat().st_uid == os.geteuid() and data.stat().st_mode & 0o077:
            data.chmod(0o700)  # keys, and masks and names of patients' slides
        probe = data / ".probe"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may have done the same at this moment
    except OSError as error:
        raise InputError(f"`data` {data}: cannot be written to ({error.strerror}); choose another folder") from error


def _refuse_network(data: Path) -> None:
    if (kind := file_system_of(data)) in _NETWORK_FILES:
        raise InputError(
            f"`data` {data}: lies on {kind}, where SQLite loses data; choose a local folder, or `database` postgresql://…"
        )


def file_system_of(path: Path) -> str:
    """Return the kind of file system that a folder lies on; empty where the machine does not tell."""
    if sys.platform == "win32":
        return ""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    return next((mounts[folder] for folder in (resolved, *resolved.parents) if folder in mounts), "")


def _postgresql(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError("`database`: not a URL; it looks like postgresql://user:password@host/name") from error
    if parsed.get_backend_name() != "postgresql":
        raise InputError(
            f"`database`: {parsed.get_backend_name()} is not supported; use postgresql://…, or none for SQLite"
        )
    try:
        parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(
            parsed,
            json_serializer=write_json,
            pool_pre_ping=True,
            pool_size=10,
            pool_timeout=_POOL_SECONDS,
            connect_args=_POSTGRESQL_PATIENCE,
        )
    except ModuleNotFoundError as error:
        raise InputError(f"`database`: PostgreSQL needs {how_to_install('postgresql')}") from error


def is_away(error: BaseException) -> bool:
    """Return whether an error says that the database cannot be used at present, through no fault of the caller."""
    if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return False  # a statement is at fault, or a table is missing, whatever SQLAlchemy calls it
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return not is_disk_full(error)
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]
