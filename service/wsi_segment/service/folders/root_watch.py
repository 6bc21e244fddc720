"""Which roots can be used: not a share that is not mounted, nor another folder in its place.

A root is recognised by what was seen before: the text of its marker file where it has one, else the folder itself (its
inode), or slides that were found in it. Jobs for a root that is away wait, as they do while the disk is full.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sqlalchemy import select, update

from wsi_segment.inference.slides.location import is_remote
from wsi_segment.service.folders.file_looks import FileLooks, HangsError
from wsi_segment.service.folders.slide_roots import UPLOADS, Root
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import roots, slides
from wsi_segment.service.jobs.upserting import insert_missing
from wsi_segment.service.workers.slide_catalogue import with_bytes

MARKER_FILE = ".wsi-segment-root"
"""A file that an administrator may put into a root, with any one line."""
_MARKER_BYTES = 200
_LOOK_SECONDS = 2.0
"""Seconds for which a finding counts."""
_SAMPLE = 50
"""Slides of a root that are looked for where neither marker nor inode decides."""


class RootAwayError(Exception):
    """A root cannot be used at present; the message names it, and no path."""


def known_roots(database: Database) -> set[str]:
    """Return the names of the roots that were seen before."""
    with database.read() as connection:
        seen = set(connection.execute(select(roots.c.name)).scalars())
        return seen | set(connection.execute(select(slides.c.root).distinct()).scalars())


class RootWatch:
    """Looks at the roots now and then; safe to use from several threads."""

    def __init__(self, database: Database, served: Sequence[Root], looks: FileLooks | None = None) -> None:
        """Remember the roots.

        Args:
            database: Keeps what was seen of them.
            served: The roots of this server.
            looks: Does the looking.
        """
        self._database, self._roots, self._looks = database, tuple(served), looks or FileLooks()
        self._lock = threading.Lock()
        self._away: dict[str, str] = {}
        self._looked = float("-inf")

    def away(self, now: bool = False) -> dict[str, str]:
        """Return the roots that cannot be used, by name, with the reason.

        Args:
            now: Look again, however short ago that was done.
        """
        with self._lock:
            if now or time.monotonic() - self._looked > _LOOK_SECONDS:
                self._away = {
                    root.name: reason
                    for root in self._roots
                    if root.name != UPLOADS  # in the data folder itself; it is empty when all uploads were removed
                    and not is_remote(root.location)
                    and (reason := self._look(root)) is not None
                }
                self._looked = time.monotonic()
            return self._away

    def here(self) -> list[str]:
        """Return the names of the roots that can be used."""
        away = self.away()
        return [root.name for root in self._roots if root.name not in away]

    def refuse_away(self, name: str) -> None:
        """Raise an error if a root is away.

        Raises:
            RootAwayError: it is, or this server does not have it.
        """
        if name not in {root.name for root in self._roots}:
            raise RootAwayError(f"root {name} is not served here")
        if (reason := self.away(now=True).get(name)) is not None:
            raise RootAwayError(reason)

    def _look(self, root: Root) -> str | None:
        with self._database.read() as connection:
            known = connection.execute(select(roots).where(roots.c.name == root.name)).first()
            found = select(slides.c.path).where(slides.c.root == root.name).limit(_SAMPLE)
            paths = connection.execute(found).scalars().all()
        try:
            marker, inode, filled, seen = self._looks.call(root.name, _examine, root.location, paths)
        except HangsError:
            return f"root {root.name} does not answer; jobs wait for it"
        except OSError:
            return f"root {root.name} cannot be read, as when it is not mounted; jobs wait for it"
        same = marker == known.marker if known is not None and known.marker else seen or not paths or (
            filled and known is not None and known.inode == inode
        )  # fmt: skip
        if not same:
            return (
                f"root {root.name} is another folder than before, as when it is not mounted; jobs wait for it. "
                "Serve another folder under another name"
            )
        if (filled or seen) and (known is None or (known.marker, known.inode) != (marker, inode)):
            self._remember(root.name, marker, inode)
        return None

    def _remember(self, name: str, marker: str, inode: str) -> None:
        with self._database.write() as connection:
            insert_missing(connection, roots, [{"name": name, "marker": marker, "inode": inode}])
            connection.execute(update(roots).where(roots.c.name == name).values(marker=marker, inode=inode))


def _examine(folder: Path, paths: Sequence[str]) -> tuple[str, str, bool, bool]:
    """Return the marker, the inode, whether anything is in a folder, and whether one of some paths is."""
    inode = str(folder.stat().st_ino)
    with os.scandir(folder) as listing:
        filled = next(iter(listing), None) is not None
    file = folder / MARKER_FILE
    marker = file.read_text(encoding="utf-8", errors="replace")[:_MARKER_BYTES].strip() if file.is_file() else ""
    seen = any(folder.joinpath(*PurePosixPath(with_bytes(path)).parts).exists() for path in paths)
    return marker, inode, filled, seen
