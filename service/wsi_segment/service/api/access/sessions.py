"""Sessions of browsers: a key is exchanged for a cookie that no script can read.

Writing needs a second token besides, which the server's own pages send as ``X-CSRF-Token``: other sites can have a
browser send the cookie at most, and pages of other ports of the same host count as the same site.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from sqlalchemy import delete, insert, select

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Key, Keys, hash_of
from wsi_segment.service.jobs.tables import sessions

LIFE_SECONDS = 12 * 3600
CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser gets for a key."""

    cookie: str
    csrf: str
    expires: float


class Sessions:
    """The sessions of a service; kept in the database, so that they end at once when a user signs out."""

    def __init__(self, database: Database, keys: Keys, secret: bytes) -> None:
        self._database, self._keys = database, keys
        self._secret = hmac.digest(secret, b"sessions", "sha256")
        # browsers send cookies to every port of a host: servers side by side have names of their own
        self.cookie_name = f"wsi_session_{hashlib.sha256(self._secret).hexdigest()[:8]}"

    def start(self, key: Key) -> Session:
        """Start a session for the holder of a key; it never outlives the key."""
        now = time.time()
        token = secrets.token_urlsafe(32)
        expires = min(now + LIFE_SECONDS, key.expires or now + LIFE_SECONDS)
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires < now))
            connection.execute(
                insert(sessions).values(sha256=hash_of(token), key=key.name, created=now, expires=expires)
            )
        return Session(token, self.csrf(token), expires)

    def key_of(self, cookie: str) -> Key | None:
        """Return the key of a session, or None where the session or its key has ended."""
        query = select(sessions.c.key).where(sessions.c.sha256 == hash_of(cookie), sessions.c.expires > time.time())
        with self._database.read() as connection:
            name = connection.execute(query).scalar()
        return None if name is None else self._keys.named(name)

    def end(self, cookie: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.sha256 == hash_of(cookie)))

    def csrf(self, cookie: str) -> str:
        """Return the token that requests which write must send beside the cookie."""
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()

    def is_genuine(self, cookie: str, csrf: str) -> bool:
        """Return whether a request that writes comes from one of the server's own pages."""
        return hmac.compare_digest(self.csrf(cookie).encode(), csrf.encode())

    def cookie_of(self, header: str) -> str | None:
        """Return the session of a ``Cookie`` header, or None."""
        try:
            found = SimpleCookie(header).get(self.cookie_name)
        except CookieError:
            return None
        return found.value if found is not None and found.value else None
