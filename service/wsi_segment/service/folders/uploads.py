"""The folder of uploaded slides: how much room it has, and what is too old in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from wsi_segment.service.folders.slide_roots import UPLOADS
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import jobs, slides

_LEFT_SECONDS = 3600.0
"""A file under way that nobody has written to for this long was left by a server that was killed."""
_DAY = 86400.0


class NoRoomError(Exception):
    """All uploads together are as large as they may be."""


class Room:
    """The bytes of one upload under way."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads, self.taken = uploads, 0

    def take(self, count: int) -> None:
        """Count some bytes.

        Raises:
            NoRoomError: they are too many.
        """
        self._uploads.take(self, count)


class Uploads:
    """The uploads of a server; safe to use from several threads."""

    def __init__(self, database: Database, data: Path, total: int) -> None:
        """Remember where uploads lie.

        Args:
            database: Knows their ids and jobs.
            data: The service's folder.
            total: Bytes that all may have together; 0 for any number.
        """
        self._database, self._folder, self._total = database, data / UPLOADS, total
        self._lock = threading.Lock()
        self._kept = 0
        self._under_way: set[Room] = set()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Count an upload for as long as the context lasts."""
        room = Room(self)
        with self._lock:
            self._kept = sum(file.stat().st_size for file in self._finished())
            self._under_way.add(room)
        try:
            yield room
        finally:
            with self._lock:
                self._under_way.discard(room)

    def take(self, room: Room, count: int) -> None:
        """Count some bytes of an upload; see :meth:`Room.take`."""
        with self._lock:
            room.taken += count
            if self._total and self._kept + sum(one.taken for one in self._under_way) > self._total:
                raise NoRoomError

    def keep(self, room: Room) -> None:
        """Count an upload as finished."""
        with self._lock:
            self._kept += room.taken
            room.taken = 0

    def is_used(self, slide_id: str) -> bool:
        """Return whether a job waits for a slide or works on it."""
        using = select(jobs.c.id).where(jobs.c.slide == slide_id, jobs.c.status.in_(("accepted", "running"))).limit(1)
        with self._database.read() as connection:
            return connection.execute(using).first() is not None

    def tidy(self, keep_days: float | None) -> int:
        """Remove what killed servers left, and uploads that are too old and unused; return how many those are."""
        if not self._folder.is_dir():
            return 0
        now = time.time()
        for left in self._folder.glob("*.partial"):
            if left.is_file() and left.stat().st_mtime < now - _LEFT_SECONDS:
                left.unlink(missing_ok=True)
        if keep_days is None:
            return 0
        old = {file.name: file for file in self._finished() if file.stat().st_mtime < now - keep_days * _DAY}
        with self._database.read() as connection:
            known = select(slides.c.path, slides.c.id).where(slides.c.root == UPLOADS)
            ids: dict[str, str] = {row.path: row.id for row in connection.execute(known) if row.path in old}
        unused = [file for name, file in old.items() if name not in ids or not self.is_used(ids[name])]
        for file in unused:
            file.unlink(missing_ok=True)
        return len(unused)

    def _finished(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [file for file in self._folder.iterdir() if file.is_file() and file.suffix != ".partial"]
