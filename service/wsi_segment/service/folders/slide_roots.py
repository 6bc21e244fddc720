"""The roots of a server: folders whose slides it may open, and the beginnings of addresses that it may read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.location import is_remote, slide_location

UPLOADS = "uploads"
"""Name of the root that uploads go to."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder whose slides may be opened, or the start of addresses that may."""

    name: str
    location: Path
    """Location with all symbolic links resolved."""
    given: str
    """As the user wrote it, made absolute."""


def parse_roots(
    texts: Sequence[str], uploads: Path | None = None, known: Collection[str] | None = ()
) -> tuple[Root, ...]:
    """Parse roots from ``PATH``, ``NAME=PATH`` or ``NAME=https://…``.

    Args:
        texts: As the user wrote them.
        uploads: Folder of uploads, if any.
        known: Names of roots that were seen before, whose folders may be missing at present; None for all.

    Raises:
        InputError: a folder is missing, or two have the same name.
    """
    found: list[Root] = []
    for text in texts:
        name, separator, rest = text.partition("=")
        if not separator or "/" in name or "\\" in name:
            name, rest = "", text
        location = slide_location(rest)
        if not is_remote(location):
            if known is not None and (name or location.name) not in known and not location.is_dir():
                raise InputError(f"`root` {rest}: no such folder")
            rest, location = str(location.absolute()), location.resolve()
        found.append(Root(name or location.name or "root", location, rest))
    if uploads is not None:
        found.append(Root(UPLOADS, uploads.resolve(), str(uploads.absolute())))
    names = [root.name for root in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"`root`: two roots are called {twice}; give one another name, as NAME=PATH")
    return tuple(found)
