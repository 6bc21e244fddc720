"""Addresses that open a slide or a result without a key until they expire, for ``<img>`` and foreign viewers.

The signature stands in the path, ``/signed/TOKEN/v1/...``: what a viewer finds relative to the address (tiles beside a
DZI, chunks of a Zarr store) is opened by it too.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from dataclasses import dataclass

PATH = "/signed/"
_MOST_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed address opens."""

    below: str
    """Path of this server below which everything may be read, such as ``/v1/slides/ID``."""
    key: str
    """Name of the key that it was made with; when that is revoked, the address ends too. Empty for none."""
    expires: int
    """Seconds since 1970."""

    def opens(self, path: str, now: float) -> bool:
        """Return whether a path may be read at a time."""
        return now < self.expires and (path == self.below or path.startswith(f"{self.below}/"))


class SignedLinks:
    """Signs addresses, and checks those that come back. Needs no table: the address itself says all of it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"signed links", "sha256")

    def sign(self, below: str, key: str, seconds: int) -> tuple[str, Grant]:
        """Return what to put before a path of this server, and what it opens."""
        grant = Grant(below, key, int(time.time()) + seconds)
        body = _text(json.dumps([grant.below, grant.key, grant.expires], separators=(",", ":")).encode())
        return f"{PATH}{body}.{self._signature(body)}", grant

    def split(self, path: str) -> tuple[str, str, Grant] | None:
        """Split a signed path into what stands before the server's own path, that path, and what is granted.

        Return None where the path is not signed, or by somebody else.
        """
        token, slash, rest = path.removeprefix(PATH).partition("/")
        body, dot, signature = token.partition(".")
        if not path.startswith(PATH) or not dot or not slash or len(token) > _MOST_BYTES:
            return None
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        below, key, expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return f"{PATH}{token}", f"/{rest}", Grant(below, key, expires)

    def _signature(self, body: str) -> str:
        return _text(hmac.digest(self._secret, body.encode(), "sha256"))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
