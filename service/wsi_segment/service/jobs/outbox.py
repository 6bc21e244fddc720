"""Messages of web hooks: written with the end of a job itself, sent by servers, kept until they arrived.

Whoever ends a job, a worker or a server, writes them in the same transaction, so that none is lost and none is
written for an end that did not happen.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from wsi_segment.service.jobs.database import Database, in_parts
from wsi_segment.service.jobs.tables import hooks, jobs, outbox

Type = Literal["job.ended", "batch.ended", "ping"]
_CLAIM_SECONDS = 30.0
"""A message that a server took and said nothing more of is sent again after this long."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 3600.0
_GIVEN_UP_SECONDS = 3 * 86400.0
_KEPT_SECONDS = 30 * 86400.0
"""Seconds for which a message that arrived or was given up can still be counted."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one hook."""

    id: str
    hook: str
    type: Type
    data: dict[str, Any]
    time: float
    """Time of the event."""
    attempts: int
    """Number of attempts, the present one included."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the messages of a hook."""

    waiting: int = 0
    delivered: int = 0
    given_up: int = 0
    error: str = ""
    """Why the last of them failed; empty where it did not."""


def note_ends(connection: Connection, status: str, ended: Sequence[tuple[str, str | None]]) -> None:
    """Write the messages about jobs that ended, and about batches that ended with them.

    Args:
        connection: Of the transaction that ended them, after it did.
        status: How they ended.
        ended: Jobs with their batches.
    """
    wanted = [(row.id, row.events) for row in connection.execute(select(hooks.c.id, hooks.c.events))]
    if not wanted:
        return
    made: list[tuple[Type, dict[str, Any]]] = []
    for part in in_parts(ended, _PAGE):
        page = dict(part)
        # masks that no job of this service made end nothing
        done = connection.execute(select(jobs.c.id).where(jobs.c.id.in_(page), jobs.c.store.is_(None))).scalars()
        made += [("job.ended", {"job": job, "batch": page[job], "status": status}) for job in done]
    for batch in {batch for _, batch in ended if batch is not None}:
        counted = select(jobs.c.status, func.count()).where(jobs.c.batch == batch).group_by(jobs.c.status)
        counts = {row[0]: row[1] for row in connection.execute(counted)}
        if not counts.keys() & {"accepted", "running"}:
            made.append(("batch.ended", {"batch": batch, "status": worst(counts), "counts": counts}))
    _write(connection, [(hook, kind, data) for hook, events in wanted for kind, data in made if kind in events])


def worst(counts: Mapping[Any, int]) -> Literal["failed", "dismissed", "successful"]:
    """Return how a batch ended: as badly as any of its jobs."""
    return "failed" if counts.get("failed") else "dismissed" if counts.get("dismissed") else "successful"


def _write(connection: Connection, messages: Sequence[tuple[str, Type, dict[str, Any]]]) -> None:
    now = time.time()
    rows = [
        {
            "id": f"msg_{secrets.token_hex(12)}",
            "hook": hook,
            "type": kind,
            "data": data,
            "time": now,
            "attempts": 0,
            "due": now,
            "error": "",
        }
        for hook, kind, data in messages
    ]
    if rows:
        connection.execute(insert(outbox), rows)


class Outbox:
    """The messages of a database, for the servers that send them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ping(self, hook: str) -> None:
        """Write a message by which a receiver can be tried."""
        with self._database.write() as connection:
            _write(connection, [(hook, "ping", {"hook": hook})])

    def claim(self, resting: Collection[str], most: Mapping[str, int], limit: int, each: int) -> list[Message]:
        """Take messages that are due, so that no other server sends them at the same time.

        Args:
            resting: Hooks that get none now.
            most: Messages that a hook may get still, where it is in the map.
            limit: Messages in all.
            each: Messages that any other hook may get.
        """
        now = time.time()
        due = select(outbox.c.hook).where(outbox.c.due <= now, outbox.c.hook.not_in(list(resting))).distinct()
        with self._database.read() as connection:
            waiting = connection.execute(due).scalars().all()
        waiting = [hook for hook in waiting if most.get(hook, each) > 0]
        if not waiting or limit <= 0:
            return []
        found: list[Message] = []
        with self._database.write() as connection:
            for hook in waiting:
                count = min(limit - len(found), most.get(hook, each))
                if count <= 0:
                    continue
                first = select(outbox.c.id).where(outbox.c.hook == hook, outbox.c.due <= now)
                rows = connection.execute(
                    update(outbox)
                    .where(outbox.c.id.in_(first.order_by(outbox.c.due).limit(count)))
                    .values(due=now + _CLAIM_SECONDS, attempts=outbox.c.attempts + 1)
                    .returning(*(outbox.c[name] for name in Message.__slots__))
                )
                found += [Message(**row._mapping) for row in rows]
        return found

    def settle(self, message: Message, error: str | None, *, again: bool = True) -> bool:
        """Record how an attempt went; return whether there will be another.

        Args:
            message: That was claimed.
            error: Why it failed, or None where the receiver took it.
            again: Whether it may be tried again.
        """
        now = time.time()
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(message.attempts - 1, 20)) * random.uniform(0.8, 1.2)
        again = again and error is not None and now - message.time < _GIVEN_UP_SECONDS
        with self._database.write() as connection:
            connection.execute(
                update(outbox)
                .where(outbox.c.id == message.id)
                .values(due=now + pause if again else None, delivered=now if error is None else None, error=error or "")
            )
        return again

    def counts(self, found: Collection[str]) -> dict[str, Counts]:
        """Return what became of the messages of hooks."""
        made = {hook: Counts() for hook in found}
        counted = select(
            outbox.c.hook,
            func.count(outbox.c.due).label("waiting"),
            func.count(outbox.c.delivered).label("delivered"),
            func.count().label("all"),
        ).group_by(outbox.c.hook)
        with self._database.read() as connection:
            for row in connection.execute(counted.where(outbox.c.hook.in_(made))):
                tried = select(outbox.c.error).where(outbox.c.hook == row.hook, outbox.c.attempts > 0)
                error = connection.execute(tried.order_by(outbox.c.time.desc()).limit(1)).scalar() or ""
                made[row.hook] = Counts(row.waiting, row.delivered, row.all - row.waiting - row.delivered, error)
        return made

    def waiting(self) -> int:
        """Return how many messages wait."""
        with self._database.read() as connection:
            return connection.execute(select(func.count()).where(outbox.c.due.is_not(None))).scalar() or 0


def tidy_outbox(connection: Connection, now: float) -> None:
    """Remove messages that arrived or were given up long ago."""
    connection.execute(delete(outbox).where(outbox.c.due.is_(None), outbox.c.time < now - _KEPT_SECONDS))


def client_of(database: Database, data: Mapping[str, Any]) -> str | None:
    """Return the name of the key that the job or batch of a message was posted with; None where it is gone."""
    which = jobs.c.id == data["job"] if "job" in data else jobs.c.batch == data["batch"]
    with database.read() as connection:
        return connection.execute(select(jobs.c.client).where(which).limit(1)).scalar()
