"""Whose job comes next: by priority, then each client in turn, and within a client's jobs each request in turn.

A client is a key by its name; those without one are one client together. Clients are served one job each, as in
start-time fair queueing (Goyal et al. 1996): the table ``shares`` counts the jobs that were claimed for each, and the
one with the smallest count comes next. One that had nothing to do does not save up turns: its count is raised to that
of the others when it comes back. Within a client the same holds for requests by the ``turn`` of their jobs, see
:func:`take_turns`.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, exists, func, select, update

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import jobs, shares, slides
from wsi_segment.service.jobs.upserting import insert_missing

_MOST_PLACED = 10_000
"""Waiting jobs whose positions are computed."""

_WAITS = jobs.c.status == "accepted"


def take_turns(connection: Connection, new: Sequence[tuple[str, int]]) -> list[int]:
    """Return a turn for each job that comes into the queue now, as (client, priority) each.

    The jobs take consecutive turns, starting at the turn that is up among the client's waiting jobs of their priority.
    A job that is posted later then comes after those whose turn it is, and not after the whole of a large batch. For
    example, a batch of three jobs (A1, A2, A3) waits when the same client posts two single jobs (B, then C)::

        turn    0          1     2
        jobs    A1 B C     A2    A3      claimed by turn, and within a turn by number: A1 B C A2 A3
    """
    taken: Counter[tuple[str, int]] = Counter()
    for client in {client for client, _ in new}:
        _join(connection, client)
    for client, priority in set(new):
        # the smallest waiting turn is the virtual time of the queue: jobs that were claimed before it count no more
        waiting = select(func.min(jobs.c.turn)).where(_WAITS, jobs.c.client == client, jobs.c.priority == priority)
        taken[client, priority] = connection.execute(waiting).scalar() or 0
    turns = []
    for one in new:
        turns.append(taken[one])
        taken[one] += 1
    return turns


def _join(connection: Connection, client: str) -> None:
    """Raise the count of a client that had nothing waiting to those who wait, or to the largest where nobody does."""
    insert_missing(connection, shares, [{"client": client, "served": 0}])
    waits = exists().where(_WAITS, jobs.c.client == shares.c.client)
    if connection.execute(select(shares.c.client).where(shares.c.client == client, waits)).first() is not None:
        return
    least = connection.execute(select(func.min(shares.c.served)).where(waits)).scalar()
    if least is None:
        least = connection.execute(select(func.max(shares.c.served))).scalar() or 0
    connection.execute(update(shares).where(shares.c.client == client, shares.c.served < least).values(served=least))


def choose_next(connection: Connection, roots: Collection[str] | None) -> str | None:
    """Return the id of the job that comes next, and count it for its client; None where none can be run.

    Args:
        connection: Inside a transaction that writes.
        roots: Names of the roots whose slides can be read at present; jobs of others go on waiting. None for all.
    """
    runnable = _WAITS if roots is None else _WAITS & ~_is_elsewhere(roots)
    top = (
        select(jobs.c.priority)
        .where(runnable, jobs.c.client == shares.c.client)
        .order_by(jobs.c.priority.desc())
        .limit(1)
        .scalar_subquery()
    )
    clients = connection.execute(select(shares.c.client, shares.c.served, top.label("priority"))).all()
    waiting = [row for row in clients if row.priority is not None]
    if not waiting:
        return None
    first = min((-row.priority, row.served) for row in waiting)
    candidates = []
    for row in waiting:
        if (-row.priority, row.served) == first:
            mine = (
                select(jobs.c.turn, jobs.c.number, jobs.c.id, jobs.c.client)
                .where(runnable, jobs.c.client == row.client, jobs.c.priority == row.priority)
                .order_by(jobs.c.turn, jobs.c.number)
                .limit(1)
            )
            candidates.append(tuple(connection.execute(mine).one()))
    _, _, job_id, client = min(candidates, key=lambda one: one[1])
    connection.execute(update(shares).where(shares.c.client == client).values(served=shares.c.served + 1))
    return str(job_id)


def _is_elsewhere(roots: Collection[str]) -> ColumnElement[bool]:
    """Select jobs whose slides lie under a root that is not one of these."""
    return exists().where(slides.c.id == jobs.c.slide, slides.c.root.not_in(list(roots)))


def positions(database: Database) -> dict[str, int]:
    """Return how many jobs come before each waiting one if no other is posted: of the first 10,000 or so."""
    query = select(jobs.c.id, jobs.c.client, jobs.c.priority, jobs.c.number).where(_WAITS)
    query = query.order_by(jobs.c.priority.desc(), jobs.c.turn, jobs.c.number).limit(_MOST_PLACED)
    with database.read() as connection:
        waiting = connection.execute(query).all()
        served: dict[str, int] = {row.client: row.served for row in connection.execute(select(shares))}
    levels: dict[int, dict[str, deque[tuple[int, str]]]] = defaultdict(lambda: defaultdict(deque))
    for row in waiting:
        levels[row.priority][row.client].append((row.number, row.id))
    placed: dict[str, int] = {}
    for priority in sorted(levels, reverse=True):
        clients = levels[priority]
        heap = [(served.get(client, 0), queue[0][0], client) for client, queue in clients.items()]
        heapq.heapify(heap)
        while heap:
            count, _, client = heapq.heappop(heap)
            placed[clients[client].popleft()[1]] = len(placed)
            served[client] = count + 1
            if clients[client]:
                heapq.heappush(heap, (count + 1, clients[client][0][0], client))
    return placed


def queue_age(database: Database) -> float:
    """Return for how many seconds the oldest waiting job has waited; 0 where none waits."""
    with database.read() as connection:
        oldest = connection.execute(select(func.min(jobs.c.created)).where(jobs.c.status == "accepted")).scalar()
    return 0.0 if oldest is None else max(0.0, time.time() - oldest)
