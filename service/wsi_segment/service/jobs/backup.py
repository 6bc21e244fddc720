"""Copy a service's data while it runs, so that another server can continue with the copy."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, true

from wsi_segment.errors import InputError
from wsi_segment.service.jobs.database import SQLITE_FILE, version_of
from wsi_segment.service.jobs.queue import free
from wsi_segment.service.jobs.tables import VERSION

_SECRET_FILE = "slides.secret"
_FOLDERS = ("results", "uploads")
_LEFTOVERS = (".partial", ".removed")
"""What is being written or removed: the next server starts such jobs again."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup copied."""

    files: int
    bytes: int
    kept: int
    """Files that an earlier backup into the same folder had copied, and that have not changed."""


def back_up(data: Path, out: Path, *, results: bool = True) -> BackedUp:
    """Copy the data folder of a service, which may be running, into another folder.

    The database comes first, by SQLite's own online backup: one moment of it, whole; jobs that ran wait in it.
    Masks are never changed once they are there, so that those of the jobs that had ended at that moment are whole too.
    Nobody but the owner can read the copy.

    Args:
        data: The service's folder.
        out: The copy; in an earlier copy, whatever has not changed is kept.
        results: Copy masks and uploads too, and not the database and its secrets alone.

    Raises:
        InputError: no service keeps its data there, or ``out`` lies in it.
    """
    source = data / SQLITE_FILE
    if not source.is_file():
        raise InputError(
            f"`data` {data}: no {SQLITE_FILE}; a PostgreSQL database is backed up by pg_dump, and the folder by a copy"
        )
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(f"`out` {out}: lies in the folder that is copied; choose another")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    out.chmod(0o700)
    _copy_database(source, out / SQLITE_FILE)
    copied, size, kept = 1, (out / SQLITE_FILE).stat().st_size, 0
    for file in _files(data, results):
        target = out / file.relative_to(data)
        try:
            state = file.stat()
            if target.is_file() and (target.stat().st_size, target.stat().st_mtime_ns) == (
                state.st_size,
                state.st_mtime_ns,
            ):
                kept += 1
                continue
            _copy(file, target)
        except FileNotFoundError:  # removed since the folder was read: its job says so in the next backup
            continue
        copied, size = copied + 1, size + state.st_size
    return BackedUp(copied, size, kept)


def _copy_database(source: Path, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(partial)) as copy:
        database.backup(copy)
        if (found := copy.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise InputError(f"`data` {source}: the database is damaged: {found}")
    _free_running(partial)
    for left in ("-wal", "-shm"):  # of a database that stood there before
        target.with_name(f"{target.name}{left}").unlink(missing_ok=True)
    partial.replace(target)


def _free_running(copy: Path) -> None:
    """Let nobody work on the jobs of a copy: whoever does is at work on the original, and may live on beside it."""
    engine = create_engine(f"sqlite:///{copy}")
    try:
        with engine.begin() as connection:
            if version_of(connection) == VERSION:  # tables of an older one may differ
                free(connection, true(), "it goes on from a backup", crashed=False)
    finally:
        engine.dispose()


def _files(data: Path, results: bool) -> Iterator[Path]:
    if (data / _SECRET_FILE).is_file():
        yield data / _SECRET_FILE
    for name in _FOLDERS if results else ():
        for folder, below, files in os.walk(data / name):
            below[:] = [one for one in below if not one.endswith(_LEFTOVERS)]
            yield from (Path(folder, file) for file in files if not file.endswith(_LEFTOVERS))


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_name(f"{target.name}.copying")
    shutil.copy2(file, partial)
    partial.replace(target)
