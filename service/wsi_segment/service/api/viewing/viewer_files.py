"""The files of the viewer: plain modules, styles and icons, served as they lie in the package."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
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
_EARLY, _MAIN, _PAGES = "js/app/early.js", "js/main.js", "js/app/pages.js"
"""Modules: what starts first, what starts every page, and what knows the modules of the pages by their names."""
_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*?\bfrom "(\.[^"]+)";', re.MULTILINE)
_PAGE_MODULE = re.compile(r'^ +(\w+): .*\bimport\("(\.[^"]+)"\)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ViewerFiles:
    """All files of the viewer, in memory: about half a megabyte."""

    page: str
    """The page, with ``{{...}}`` where addresses come in."""
    content: dict[str, bytes]
    """Files that the page loads, by path below :data:`PATH` and the digest."""
    digest: str
    """Changes with any of the files, so that browsers may keep them for ever under an address."""
    first: list[str]
    """Modules that ask the server, before all others are fetched."""
    needed: list[str]
    """Other modules that every page needs."""
    of_pages: dict[str, list[str]]
    """Modules that one page needs besides, by its name in the address."""

    def media_type(self, name: str) -> str:
        """Return the media type of a file."""
        return _TYPES[name[name.rindex(".") :]]

    def page_under(self, prefix: str, entered: bool = False) -> str:
        """Return the page for a server whose addresses stand below a prefix.

        Whether whoever asks may look (no key is needed, or a session is open) stands in it, so that it can ask for a
        result at once; what may be done is still decided with each request.

        Modules are named in it, so that a browser fetches them at once and not as it finds their imports. Those that
        ask the server first are in its head. The others are in templates, from which ``js/app/early.js`` takes them
        when it has asked: those of every page, and those of the page that the address names, in one of its name, since
        a server does not see the part of an address after ``#``.
        """
        base = f"{prefix}{PATH}/{self.digest}"
        templates = [
            f'<template data-page="{page}">\n{_preload(base, names, "low")}\n</template>'
            for page, names in {"": self.needed, **self.of_pages}.items()
        ]
        styles = "\n".join(
            f'<link rel="stylesheet" href="{escape(f"{base}/{name}")}">'
            for name in sorted(self.content)
            if name.endswith(".css")
        )
        values = {
            "prefix": escape(prefix),
            "entered": "true" if entered else "false",
            "base": escape(base),
            "version": escape(version("wsi-segment")),
            "preload": _preload(base, self.first, "high"),
            "pages": "\n".join(templates),
            "styles": styles,
        }
        page = self.page
        for name, value in values.items():
            page = page.replace("{{" + name + "}}", value)
        return page


def imported(content: Mapping[str, bytes], module: str) -> list[str]:
    """Return a module and all that it imports, and what those do, without what is imported when it is asked for."""
    found = [module]
    for name in found:  # grows meanwhile
        for path in _IMPORT.findall(content[name].decode()):
            target = _beside(name, path)
            if target not in found:
                found.append(target)
    return found


def _beside(module: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), path))


def _preload(base: str, names: Iterable[str], priority: str) -> str:
    """Return links that fetch modules; the server's answers go before those of low priority."""
    return "\n".join(
        f'<link rel="modulepreload" href="{escape(f"{base}/{name}")}" fetchpriority="{priority}">' for name in names
    )


@cache
def viewer_files() -> ViewerFiles:
    """Read the files, once."""
    folder = files("wsi_segment.service") / "viewer"
    content = dict(sorted(_walk(folder, "")))
    page = content.pop(_PAGE)
    digest = hashlib.sha256(page)
    for name, held in content.items():
        digest.update(f"{name} {len(held)} ".encode() + held)
    first = imported(content, _EARLY)
    needed = [name for name in imported(content, _MAIN) if name not in first]
    of_pages = {
        name: [one for one in imported(content, _beside(_PAGES, path)) if one not in first + needed]
        for name, path in _PAGE_MODULE.findall(content[_PAGES].decode())
    }
    return ViewerFiles(page.decode(), content, digest.hexdigest()[:16], first=first, needed=needed, of_pages=of_pages)


def _walk(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = f"{above}{entry.name}"
        if entry.is_dir():
            found += _walk(entry, f"{name}/")
        elif name == _PAGE or name[name.rfind(".") :] in _TYPES:
            found.append((name, entry.read_bytes()))
    return found
