"""Who sends a request, and what they may do."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import Scope as Request

from wsi_segment.service.jobs.keys import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request."""

    key: str
    """Name of the key that was sent; empty where none is asked for."""
    owner: str
    """Who has that key; several keys may belong to one owner."""
    scopes: frozenset[Scope]
    address: str
    """Network address, as the trusted proxy gives it."""
    changing: bool = False
    """Whether the request may change something."""
    session: str | None = None
    """Cookie of the browser's session that the key was exchanged for, or None."""
    own_keys: frozenset[str] = frozenset()
    """Names of all keys of the owner, valid or not: what was posted with them is the caller's own."""

    def may(self, kind: Scope, posted_with: str | None = None) -> bool:
        """Return whether the caller may read or write at all, or what was posted with a key.

        Args:
            kind: ``read`` or ``write``; or ``metrics``.
            posted_with: Name of the key of a job; None asks whether there is anything that the caller may do so.
        """
        if kind in self.scopes:
            return True
        own: Scope | None = "read-own" if kind == "read" else "write-own" if kind == "write" else None
        return own in self.scopes and (posted_with is None or posted_with in self.own_keys)

    @property
    def sees(self) -> frozenset[str] | None:
        """Names of the keys whose jobs the caller may see; None for everybody's."""
        return None if "read" in self.scopes else self.own_keys


NOBODY = Caller("", "", frozenset(), "")
_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def address_of(request: Request) -> str:
    """Return the network address that a request comes from; empty where there is none."""
    client = request.get("client")
    return client[0] if client else ""


def present_caller() -> Caller:
    """Return the sender of the request that is being handled."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Remember the sender for as long as the present request is handled."""
    _caller.set(caller)
