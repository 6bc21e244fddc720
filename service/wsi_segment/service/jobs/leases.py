"""Whether the owners of running jobs are still there, by which no clock is believed.

Owners on the same host are processes, which live or do not. Of an owner elsewhere it counts whether its leases change:
each is renewed every ``RENEW_SECONDS`` with another value, and one that was seen unchanged for ``LEASE_SECONDS`` of the
observer's own monotonic clock is over. Clocks that differ, or that somebody sets, end no lease.
"""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import select

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.queue import free, free_owners
from wsi_segment.service.jobs.tables import jobs

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
_DEAD_SECONDS = 5.0
"""Seconds for which a process of this host is seen dead before its jobs are freed: its own server says why it ended."""
_LONGEST_GAP = 5.0
"""Seconds between two looks that count; while nobody could look, as without a database, nobody could renew either."""
_FIRST_NAMESPACE = 4026531836
"""Number of the process namespace that Linux starts with; a container has another."""


def host_name() -> str:
    """Return a name within which process numbers mean one process: the host's, and the container's namespace."""
    if sys.platform == "linux":
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        if namespace != _FIRST_NAMESPACE:
            return f"{socket.gethostname()}+{namespace}"
    return socket.gethostname()


def owner_name(pid: int, token: str) -> str:
    """Name a process by its host, its number and the token that it was started with; no two ever share a name."""
    return f"{host_name()}/{pid}/{token}"


@dataclass(slots=True)
class _Seen:
    """A lease as it was seen last."""

    lease: tuple[int, float | None]
    """Fence and value."""
    looked: float
    unchanged: float = 0.0
    """Seconds."""


class LeaseWatch:
    """One observer; looks again and again, at least every few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, _Seen] = {}

    def free_lost(self) -> int:
        """Free the jobs whose owners are gone; return how many."""
        query = select(jobs.c.id, jobs.c.owner, jobs.c.fence, jobs.c.lease).where(jobs.c.status == "running")
        with self._database.read() as connection:
            running = connection.execute(query).all()
        now, lost = time.monotonic(), []
        seen, self._seen = self._seen, {}
        for row in running:
            here = row.owner is not None and _is_here(row.owner)
            before = seen.get(row.id)
            if before is None or before.lease != (row.fence, row.lease) or (here and _is_alive(row.owner)):
                self._seen[row.id] = _Seen((row.fence, row.lease), now)
                continue
            before.unchanged += min(now - before.looked, _LONGEST_GAP)
            before.looked = now
            self._seen[row.id] = before
            if before.unchanged >= (_DEAD_SECONDS if here else LEASE_SECONDS):
                lost.append((row.id, row.fence, "it was stopped" if here else "its host was lost"))
        for job_id, fence, reason in lost:
            with self._database.write() as connection:
                free(connection, (jobs.c.id == job_id) & (jobs.c.fence == fence), reason)
        return len(lost)


def free_dead_owners(database: Database) -> int:
    """Free the jobs whose owners were processes of this host and have ended; return how many."""
    with database.read() as connection:
        owners = {row.owner for row in connection.execute(select(jobs.c.owner).where(jobs.c.status == "running"))}
    dead = [owner for owner in owners if owner is not None and _is_here(owner) and not _is_alive(owner)]
    return free_owners(database, dead, "it was stopped")


def _is_here(owner: str) -> bool:
    return owner.rsplit("/", 2)[0] == host_name()


def _is_alive(owner: str) -> bool:
    """Return whether a process of this host still runs."""
    _, pid, token = owner.rsplit("/", 2)
    try:
        return token in psutil.Process(int(pid)).cmdline()  # a zombie has none
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
