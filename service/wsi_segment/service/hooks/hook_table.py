"""Web hooks: addresses that get a message when jobs or batches end."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select

from wsi_segment.errors import InputError
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_rows import new_id
from wsi_segment.service.jobs.outbox import Type
from wsi_segment.service.jobs.tables import hooks, outbox

MOST_HOOKS = 20
"""Hooks that a key may have."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One of them."""

    id: str
    key: str
    """Name of the key that it was made with: it gets what that may see, and nothing once that has ended."""
    url: str
    events: tuple[Type, ...]
    """Types of the events that it gets messages about."""
    prefix: str
    """Path before the server's addresses for whoever made it."""
    created: float


class Hooks:
    """The hooks of a service, and their secrets."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database, self._secret = database, hmac.digest(secret, b"web hooks", "sha256")

    def create(self, key: str, url: str, events: Sequence[Type], prefix: str) -> Hook:
        """Add a hook.

        Raises:
            InputError: the key has too many.
        """
        hook = Hook(new_id(), key, url, tuple(events), prefix=prefix, created=time.time())
        with self._database.write() as connection:
            count = connection.execute(select(func.count()).where(hooks.c.key == key)).scalar() or 0
            if count >= MOST_HOOKS:
                raise InputError(f"the key has {count} hooks already, and may have {MOST_HOOKS}; delete some")
            row = {name: getattr(hook, name) for name in Hook.__slots__} | {"events": list(events)}
            connection.execute(insert(hooks).values(row))
        return hook

    def get(self, hook_id: str) -> Hook | None:
        """Return the hook with an id."""
        with self._database.read() as connection:
            row = connection.execute(select(hooks).where(hooks.c.id == hook_id)).first()
        return None if row is None else _hook(row)

    def listed(self, keys: Collection[str]) -> list[Hook]:
        """Return the hooks that were made with keys, the oldest first."""
        query = select(hooks).where(hooks.c.key.in_(keys)).order_by(hooks.c.created)
        with self._database.read() as connection:
            return [_hook(row) for row in connection.execute(query)]

    def delete(self, hook_id: str) -> None:
        """Remove a hook and its messages."""
        with self._database.write() as connection:
            connection.execute(delete(outbox).where(outbox.c.hook == hook_id))
            connection.execute(delete(hooks).where(hooks.c.id == hook_id))

    def secret(self, hook_id: str) -> bytes:
        """Return the secret of a hook; it follows from the service's own, and lies in no table."""
        return hmac.digest(self._secret, hook_id.encode(), "sha256")

    def secret_text(self, hook_id: str) -> str:
        """Return the secret of a hook as receivers get it, in the form of Standard Webhooks."""
        return f"whsec_{base64.b64encode(self.secret(hook_id)).decode()}"


def _hook(row: Any) -> Hook:
    return Hook(**{**row._mapping, "events": tuple(row.events)})
