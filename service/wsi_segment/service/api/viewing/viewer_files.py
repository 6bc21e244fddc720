"""The files of the viewer: plain modules, styles and icons, served as they lie in the package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

PATH = "/static/viewer"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Of the page: no inline scripts or styles, and no other host; ``blob:`` is for pictures that the page itself made."""
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_PAGE = "index.html"
_FIRST = ("main.js", "app", "server", "lib", "view", "review", "compare")
"""Folders of modules in the order in which they are needed; others follow."""


@dataclass(frozen=True, slots=True)
class ViewerFiles:
    """All files of the viewer, in memory: about half a megabyte."""

    page: str
    """The page, with ``{{...}}`` where addresses come in."""
    content: dict[str, bytes]
    """Files that the page loads, by path below :data:`PATH` and the digest."""
    digest: str
    """Changes with any of the files, so that browsers may keep them for ever under an address."""

    def media_type(self, name: str) -> str:
        """Return the media type of a file."""
        return _TYPES[name[name.rindex(".") :]]

    def page_under(self, prefix: str) -> str:
        """Return the page for a server whose addresses stand below a prefix.

        All modules are named in its head, so that a browser fetches them at once and not as it finds their imports:
        first what every page needs, then what a result needs.
        """
        base = f"{prefix}{PATH}/{self.digest}"
        modules = sorted((name for name in self.content if name.startswith("js/")), key=_turn)
        preload = "\n".join(f'<link rel="modulepreload" href="{escape(f"{base}/{name}")}">' for name in modules)
        styles = "\n".join(
            f'<link rel="stylesheet" href="{escape(f"{base}/{name}")}">'
            for name in sorted(self.content)
            if name.endswith(".css")
        )
        values = {
            "prefix": escape(prefix),
            "base": escape(base),
            "version": escape(version("wsi-segment")),
            "preload": preload,
            "styles": styles,
        }
        page = self.page
        for name, value in values.items():
            page = page.replace("{{" + name + "}}", value)
        return page


def _turn(name: str) -> tuple[int, str]:
    """Return when a module is to be fetched."""
    folder = name.split("/")[1]
    return (_FIRST.index(folder) if folder in _FIRST else len(_FIRST), name)


@cache
def viewer_files() -> ViewerFiles:
    """Read the files, once."""
    folder = files("wsi_segment.service") / "viewer"
    content = dict(sorted(_walk(folder, "")))
    page = content.pop(_PAGE)
    digest = hashlib.sha256(page)
    for name, held in content.items():
        digest.update(f"{name} {len(held)} ".encode() + held)
    return ViewerFiles(page.decode(), content, digest.hexdigest()[:16])


def _walk(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = f"{above}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{name}/")
        elif name == _PAGE or name[name.rfind(".") :] in _TYPES:
            found.append((name, entry.read_bytes()))
    return found
