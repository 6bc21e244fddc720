"""API keys: 256-bit tokens of which only the hash is kept, with scopes and an expiry."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from wsi_segment.errors import InputError
from wsi_segment.service.jobs.database import Database, is_away
from wsi_segment.service.jobs.tables import keys

Scope = Literal["read", "write", "read-own", "write-own", "metrics"]
"""``read`` slides and everybody's jobs and results; ``write`` posts, and cancels and changes everybody's jobs.

With ``read-own`` and ``write-own`` the jobs are those of the key's owner only; slides are there for all. ``metrics`` is
for Prometheus.
"""
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "wsi_"
_DAY = 86400.0
_KEY = select(keys.c.name, keys.c.owner, keys.c.scopes, keys.c.created, keys.c.expires, keys.c.revoked)


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its token, which is shown once and not stored."""

    name: str
    owner: str
    """Who has it; keys of one owner share their jobs."""
    scopes: tuple[Scope, ...]
    created: float
    expires: float | None
    revoked: float | None

    def is_valid(self, now: float) -> bool:
        """Return whether the key may be used at a time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Keys:
    """The keys of a service."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made: bool | None = None
        """Whether a key was ever created, as far as it is known."""
        self._last: dict[str, Key] = {}
        """Keys as they were when they were used last, by hash: while the database is away, nobody can revoke one."""

    def create(self, name: str, scopes: Sequence[Scope], days: float | None, owner: str | None = None) -> str:
        """Create a key and return its token, which is not shown again.

        Args:
            name: Of the key.
            scopes: What it opens.
            days: Until it expires; None for never.
            owner: Who has it; None for somebody of the same name.

        Raises:
            InputError: the name is taken.
        """
        token = _PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(keys).values(
                        name=name,
                        owner=owner or name,
                        sha256=hash_of(token),
                        scopes=list(scopes),
                        created=now,
                        expires=None if days is None else now + days * _DAY,
                    )
                )
        except IntegrityError as error:
            raise InputError(f"a key called {name!r} exists or existed; choose another name") from error
        return token

    def revoke(self, name: str) -> None:
        """Revoke a key at once.

        Raises:
            InputError: no key has that name.
        """
        with self._database.write() as connection:
            found = connection.execute(update(keys).where(keys.c.name == name).values(revoked=time.time())).rowcount
        if not found:
            raise InputError(f"no key is called {name!r}; see: wsi-segment keys list")

    def listed(self) -> list[Key]:
        """Return all keys, the oldest first."""
        query = _KEY.order_by(keys.c.created)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def any_made(self) -> bool:
        """Return whether a key was ever created; revoking the last one must not reopen the server."""
        try:
            with self._database.read() as connection:
                self._made = connection.execute(select(keys.c.name).limit(1)).first() is not None
        except SQLAlchemyError as error:
            if self._made is None or not is_away(error):
                raise
        return bool(self._made)

    def any_valid(self) -> bool:
        """Return whether any key may be used now."""
        now = time.time()
        return any(key.is_valid(now) for key in self.listed())

    def check(self, token: str) -> Key | None:
        """Return the key of a token, or None unless it may be used."""
        digest = hash_of(token)
        try:
            with self._database.read() as connection:
                row = connection.execute(_KEY.where(keys.c.sha256 == digest)).first()
        except SQLAlchemyError as error:
            if digest not in self._last or not is_away(error):
                raise
        else:
            if row is None:
                self._last.pop(digest, None)
                return None
            self._last[digest] = _key(row)
        key = self._last[digest]
        return key if key.is_valid(time.time()) else None

    def names_of(self, owner: str) -> frozenset[str]:
        """Return the names of all keys of an owner, of those that have ended too."""
        query = select(keys.c.name).where(func.coalesce(keys.c.owner, keys.c.name) == owner)
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def named(self, name: str) -> Key | None:
        """Return the key of a name, or None unless it may be used."""
        with self._database.read() as connection:
            row = connection.execute(_KEY.where(keys.c.name == name)).first()
        key = None if row is None else _key(row)
        return key if key is not None and key.is_valid(time.time()) else None


def hash_of(token: str) -> str:
    """Return what is kept of a token: of 256 random bits a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _key(row: Any) -> Key:
    return Key(
        name=row.name,
        owner=row.owner or row.name,
        scopes=tuple(row.scopes),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
    )
