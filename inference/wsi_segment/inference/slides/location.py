"""Where a slide is: a path, or an address that is read over the network."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from wsi_segment.errors import InputError
from wsi_segment.extras import how_to_install

_BLOCK = 1 << 20
"""Bytes that are fetched at once, and of which 32 are kept: about a row of tiles of one region."""


def slide_location(place: str | Path) -> Path:
    """Return a path, or for ``scheme://…`` an object with its interface (https, s3, and what else fsspec knows).

    >>> slide_location("slides/a.svs").name, slide_location(Path("slides/a.svs")).name
    ('a.svs', 'a.svs')

    Raises:
        InputError: the scheme is unknown, or what it needs is not installed.
    """
    if not isinstance(place, str):
        return place
    scheme, separator, _ = place.partition("://")
    if not separator:
        return Path(place)
    try:
        from upath import UPath

        location = UPath(place)
        _ = location.fs  # imports what the scheme needs
    except ImportError as error:
        raise InputError(f"{place}: reading over the network needs {how_to_install('remote')} ({error})") from error
    except ValueError as error:
        raise InputError(f"{place}: addresses that start with {scheme}:// cannot be read ({error})") from error
    return cast("Path", location)


def is_remote(path: Path) -> bool:
    """Return whether a location is read over the network."""
    return not isinstance(path, Path)


def open_bytes(path: Path) -> BufferedReader:
    """Return the file of a location; one over the network is fetched by blocks as it is read.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(path):
        return path.open("rb")
    remote: Any = path
    return cast("BufferedReader", remote.open("rb", block_size=_BLOCK, cache_type="blockcache"))
