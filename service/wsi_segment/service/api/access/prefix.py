"""The path that a reverse proxy puts before every address of this server, such as ``/wsi``."""

from __future__ import annotations

from contextvars import ContextVar

_prefix: ContextVar[str] = ContextVar("prefix", default="")


def href(path: str) -> str:
    """Return the address of a path of this server, as the client of the present request reaches it."""
    return _prefix.get() + path


def set_prefix(prefix: str) -> None:
    """Have :func:`href` put a prefix before paths, for as long as the present request is handled."""
    _prefix.set(prefix)


def without_prefix(path: str, prefix: str) -> str:
    """Return a path below the prefix; a proxy may have removed the prefix already, or may not."""
    return path.removeprefix(prefix) or "/" if path == prefix or path.startswith(f"{prefix}/") else path
