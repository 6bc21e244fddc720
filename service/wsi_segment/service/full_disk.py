"""A full disk or a spent quota, whichever library meets it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

_POSTGRESQL_DISK_FULL = "53100"


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is a full disk or a spent quota, the database's too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        if getattr(error, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
            return True
        error = getattr(error, "orig", None) or error.__cause__
    return False


class DiskFullError(Exception):
    """A disk is full or a quota is spent, whichever library met it."""


@contextmanager
def full_disk_as_one_error() -> Iterator[None]:
    """Raise one kind of error for a full disk, whichever library met it."""
    try:
        yield
    except Exception as error:  # libraries wrap the system's error in their own; all others pass
        if is_disk_full(error):
            raise DiskFullError from error
        raise
