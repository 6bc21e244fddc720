"""Tells who sends a request: by a key, by the session that a key was exchanged for, or by a signed address."""

from __future__ import annotations

import time
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.types import Scope

from wsi_segment.service.api.access.caller import SAFE, Caller, address_of
from wsi_segment.service.api.access.prefix import set_prefix
from wsi_segment.service.api.access.sessions import CSRF_HEADER, Sessions
from wsi_segment.service.api.access.signed_links import PATH, SignedLinks
from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.hooks.hook_table import Hook
from wsi_segment.service.jobs import keys as key_table
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.outbox import Message, client_of

SESSION_PATH = "/v1/session"
_OPEN = ("/health/", "/docs/", "/static/")
_OPEN_PAGES = frozenset({"/", "/docs", "/openapi.json", "/view"})
"""Need no key: whether the server works, and pages and scripts, which hold no names and no figures."""
_READERS_POST = frozenset({"/v1/links"})
"""Posts that change nothing: whoever may read may pass on what they may read."""


class Credentials:
    """What clients prove themselves with."""

    def __init__(self, keys: key_table.Keys, sessions: Sessions, links: SignedLinks, always_key: bool) -> None:
        """Remember what is needed for it.

        Args:
            keys: Once one was created, every request needs one.
            sessions: Sessions of browsers.
            links: Signed addresses.
            always_key: Whether a request needs a key even before one was made.
        """
        self._keys, self._sessions, self._links, self._always_key = keys, sessions, links, always_key

    def open_signed(self, scope: Scope) -> bool:
        """Return whether the address is signed, and have what follows the signature be the request's path.

        Raises:
            ProblemError: it is, but does not open that path, or no longer.
        """
        path: str = scope["state"]["path"]
        if not path.startswith(PATH):
            return False
        found = self._links.split(path)
        if found is None or not found[2].opens(found[1], time.time()) or scope["method"] not in SAFE:
            raise ProblemError(403, "not-signed", "this address has expired or opens something else; make a new one")
        before, inner, grant = found
        prefix = scope["root_path"] + before
        set_prefix(prefix)
        scope["root_path"], scope["path"] = prefix, prefix + inner
        scope["state"] |= {"path": inner, "grant": grant}
        return True

    def is_open(self, path: str) -> bool:
        """Return whether a path is answered to everybody, so that nothing has to be looked up."""
        return path.startswith(_OPEN) or path in _OPEN_PAGES

    def identify(self, scope: Scope, headers: Headers, signed: bool) -> Caller:
        """Return who sends a request.

        Raises:
            ProblemError: a key is needed and none that is valid was sent.
        """
        path, method = scope["state"]["path"], scope["method"]
        address = address_of(scope)
        if self.is_open(path):
            return Caller("", "", frozenset(), address)
        if signed:
            return self._signer(scope["state"]["grant"].key, address)
        caller = self._holder(headers, method, address, path == SESSION_PATH)
        return replace(caller, changing=method not in SAFE)

    def check_scope(self, scope: Scope, caller: Caller) -> None:
        """Refuse a request that the key of its sender does not open.

        Raises:
            ProblemError: the key lacks the scope.
        """
        path, method = scope["state"]["path"], scope["method"]
        if path == SESSION_PATH:
            return
        kind: key_table.Scope = (
            "metrics" if path == "/metrics" else "read" if method in SAFE or path in _READERS_POST else "write"
        )
        if not caller.may(kind):
            raise ProblemError(403, "missing-scope", f"the key lacks the scope {kind!r}")

    def _caller(self, key: key_table.Key | None, address: str, session: str | None = None) -> Caller:
        return _holder_of(self._keys, key, address, session)

    def _signer(self, key: str, address: str) -> Caller:
        found = self._keys.named(key) if key else None
        if found is None and (key or self._asks_for_keys()):
            raise ProblemError(403, "not-signed", "the key that this address was made with has ended; make a new one")
        return self._caller(found, address)

    def _asks_for_keys(self) -> bool:
        return self._always_key or self._keys.any_made()

    def _holder(self, headers: Headers, method: str, address: str, signing_in: bool) -> Caller:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        cookie = self._sessions.cookie_of(headers.get("cookie", ""))
        if token:
            key = self._keys.check(token.strip()) if scheme.lower() == "bearer" else None
            if key is None:
                raise _unauthorized("the key is unknown, was revoked, or has expired")
            return self._caller(key, address)
        key = None if cookie is None else self._sessions.key_of(cookie)
        if cookie is not None and key is not None:
            genuine = self._sessions.is_genuine(cookie, headers.get(CSRF_HEADER, ""))
            if method not in SAFE and not genuine and not signing_in:
                raise ProblemError(403, "no-csrf-token", f"send {CSRF_HEADER}, which GET {SESSION_PATH} answers")
            return self._caller(key, address, cookie)
        if not self._asks_for_keys():
            return self._caller(None, address)
        if signing_in:
            return Caller("", "", frozenset(), address)
        ended = "the session has ended; sign in again" if cookie is not None else ""
        raise _unauthorized(ended or "this server asks for a key: send Authorization: Bearer …")


def may_be_told(database: Database, keys: key_table.Keys, hook: Hook, message: Message) -> bool:
    """Return whether the key of a hook is valid still, and may see what a message is about."""
    key = keys.named(hook.key) if hook.key else None
    if key is None and (hook.key or keys.any_made()):
        return False
    holder = _holder_of(keys, key, "")
    if message.type == "ping":
        return holder.may("read")
    client = client_of(database, message.data)
    return client is not None and holder.may("read", client)


def _holder_of(keys: key_table.Keys, key: key_table.Key | None, address: str, session: str | None = None) -> Caller:
    """Return the holder of a key; everybody may do everything where none is asked for."""
    if key is None:
        return Caller("", "", frozenset(key_table.SCOPES), address)
    own = frozenset() if "read" in key.scopes and "write" in key.scopes else keys.names_of(key.owner)
    return Caller(key.name, key.owner, frozenset(key.scopes), address, session=session, own_keys=own)


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="wsi-segment"'})
