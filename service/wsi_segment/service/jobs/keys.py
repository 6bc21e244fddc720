"""API keys: 256-bit tokens of which only the hash is kept, with scopes and an end."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from wsi_segment.errors import InputError
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import keys

Scope = Literal["read", "write", "metrics"]
"""``read`` slides and results; ``write`` posts and cancels jobs, and uploads; ``metrics`` for Prometheus."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "wsi_"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its token, which nobody can tell again."""

    name: str
    scopes: tuple[Scope, ...]
    created: float
    expires: float | None
    revoked: float | None

    def is_valid(self, now: float) -> bool:
        """Whether it may be used."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Keys:
    """The keys of a service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Sequence[Scope], days: float | None) -> str:
        """A new key's token, told this once.

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
                        sha256=_hash(token),
                        scopes=list(scopes),
                        created=now,
                        expires=None if days is None else now + days * _DAY,
                    )
                )
        except IntegrityError as error:
            raise InputError(f"a key called {name!r} exists or existed; choose another name") from error
        return token

    def revoke(self, name: str) -> None:
        """End a key at once.

        Raises:
            InputError: there is none of that name.
        """
        with self._database.write() as connection:
            found = connection.execute(update(keys).where(keys.c.name == name).values(revoked=time.time())).rowcount
        if not found:
            raise InputError(f"no key is called {name!r}; see: wsi-segment keys list")

    def listed(self) -> list[Key]:
        """All keys, the oldest first."""
        query = select(keys.c.name, keys.c.scopes, keys.c.created, keys.c.expires, keys.c.revoked).order_by(
            keys.c.created
        )
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def any_made(self) -> bool:
        """Whether there ever was a key: the end of the last one must not open what they were made to close."""
        with self._database.read() as connection:
            return connection.execute(select(keys.c.name).limit(1)).first() is not None

    def any_valid(self) -> bool:
        """Whether there is a key that may be used."""
        now = time.time()
        return any(key.is_valid(now) for key in self.listed())

    def check(self, token: str) -> Key | None:
        """The key of a token, if it may be used."""
        query = select(keys.c.name, keys.c.scopes, keys.c.created, keys.c.expires, keys.c.revoked)
        with self._database.read() as connection:
            row = connection.execute(query.where(keys.c.sha256 == _hash(token))).first()
        if row is None:
            return None
        key = _key(row)
        return key if key.is_valid(time.time()) else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _key(row: Any) -> Key:
    return Key(row.name, tuple(row.scopes), row.created, row.expires, row.revoked)
