"""Who changed what: one row per request that could change something, kept for as long as the database is."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import actions
from wsi_segment.service.logs import request_id

_POSTS = ("POST /v1/jobs", "POST /v1/batches")

log = logging.getLogger(__name__)


class Who(Protocol):
    """The sender of a request."""

    @property
    def key(self) -> str:
        """Name of the key."""

    @property
    def owner(self) -> str:
        """Who has the key."""

    @property
    def address(self) -> str:
        """Network address."""


@dataclass(frozen=True, slots=True)
class Action:
    """One request."""

    time: float
    key: str
    owner: str
    address: str
    action: str
    """Method and route."""
    target: str
    """Id of the job, batch or slide; empty where none was named."""
    status: int
    request: str


class Actions:
    """The record of a service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, who: Who, action: str, target: str, status: int) -> None:
        """Record a request that was answered; where the database does not answer, the line of the log has to do."""
        row = {"time": time.time(), "key": who.key, "owner": who.owner, "address": who.address, "action": action}
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(actions).values(**row, target=target, status=status, request=request_id.get())
                )
        except SQLAlchemyError as error:
            log.warning("an action could not be recorded: %s", type(error).__name__)

    def address_of(self, target: str) -> str:
        """Return the address that a job or batch was posted from; empty where that is not recorded."""
        query = select(actions.c.address).where(actions.c.target == target, actions.c.action.in_(_POSTS))
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).scalar() or ""

    def listed(self, limit: int, owner: str | None = None) -> list[Action]:
        """Return the latest actions, the newest first: of all, or of an owner."""
        wanted = [column for column in actions.c if column.name != "number"]
        query = select(*wanted).order_by(actions.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(actions.c.owner == owner)
        with self._database.read() as connection:
            return [Action(**row._mapping) for row in connection.execute(query)]
