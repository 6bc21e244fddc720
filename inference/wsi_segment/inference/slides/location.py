"""Where a slide is: a path, or an address that is read over the network."""

from __future__ import annotations

import errno
import os
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from wsi_segment.errors import InputError
from wsi_segment.extras import how_to_install, needs_extra
from wsi_segment.files import address_meant
from wsi_segment.inference.places.bucket_client import reason_of
from wsi_segment.inference.places.bucket_folder import is_bucket, object_folder, object_of, refuse_odd_names
from wsi_segment.inference.places.object_file import ObjectFile, Parts, named_by

_BLOCK = 1 << 20
"""Bytes that are fetched at once, and of which 32 are kept: about a row of tiles of one region."""
_VALIDATORS = ("size", "ETag", "Content-MD5", "Digest", "Last-Modified")
"""By which a server tells a file from what took its place, as fsspec names them."""
_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
"""Schemes by which the objects of another one are reached too."""


def slide_location(place: str | Path) -> Path:
    """Return a path, or for ``scheme://…`` an object with its interface (buckets, https, and what else fsspec knows).

    >>> slide_location("slides/a.svs").name, slide_location(Path("slides/a.svs")).name
    ('a.svs', 'a.svs')

    Raises:
        InputError: it is neither, an address lacks a slash, the scheme is unknown, what it needs is not installed, or
            it cannot be the address of an object.
    """
    if is_bucket(place):
        refuse_odd_names(place)
    if not isinstance(place, str):
        if isinstance(place, Path) or hasattr(place, "storage_options"):  # what this function returns
            return place
        raise InputError(f"{place!r}: give a path or an address as text or as a pathlib.Path")
    if (address := address_meant(place)) is not None:
        raise InputError(f"{place}: looks like an address; give {address}, or ./{place} for a folder of this name")
    scheme, separator, _ = place.partition("://")
    if not separator:
        return Path(place)
    if scheme == "file":
        return Path(url2pathname(urlsplit(place).path))
    try:
        from upath import UPath

        location = UPath(place)
        if not is_bucket(place):  # those are reached by obstore
            _ = location.fs  # imports what the scheme needs
    except ImportError as error:
        raise InputError(f"{place}: reading over the network needs {how_to_install('remote')} ({error})") from error
    except ValueError as error:
        raise InputError(f"{place}: addresses that start with {scheme}:// cannot be read ({error})") from error
    except OSError as error:  # of protocols that connect at once, such as FTP
        raise InputError(f"{place}: cannot be reached: {error.strerror or error}") from error
    return cast("Path", location)


def output_location(place: str | Path, field: str = "out") -> Path:
    """Return where something is written: a path, or an object of a bucket with its interface.

    Args:
        place: A path or an address.
        field: What it was given as, for messages.

    Raises:
        InputError: nothing can be written there; see also :func:`slide_location`.
    """
    location = slide_location(place)
    if is_remote(location) and not is_bucket(location):
        raise InputError(f"`{field}` {location}: can only be in a folder or in an object store, such as s3://")
    return location


def is_remote(path: Path) -> bool:
    """Return whether a location is read over the network."""
    return not isinstance(path, Path)


def object_place(path: Path) -> PurePosixPath:
    """Return scheme, account, bucket and key of an address, alike for all addresses of one object."""
    scheme, _, rest = object_folder(path).address.partition("://")
    scheme = _ALIASES.get(scheme, scheme)
    bucket, slash, key = rest.partition("/")
    bucket, _, host = bucket.partition("@")
    account = host.partition(".")[0]
    if scheme == "az":
        account = account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    return PurePosixPath(f"{scheme}:{account}@{bucket}{slash}{key}")


def network_reason(error: Exception, file: Any) -> str:
    """Say in one line why something could not be read over the network; every protocol has errors of its own.

    Args:
        error: What was raised by fsspec, or by a library that read through it.
        file: Address of the file, or of one that is there if anything is.
    """
    if is_bucket(file):
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            return "no such file"
        said = str(error) if isinstance(error, InputError) else getattr(error, "strerror", None)
        return said or reason_of(error, str(file))
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else error  # what fsspec says of any answer
    if cause is None or getattr(cause, "status", None) == 404:
        return "no such file"
    reason = f"{' '.join(str(cause).split()) or type(cause).__name__:.200}"
    return f"{reason}; {WITHOUT_RANGES}" if ignores_ranges(file) else reason


def read_file(path: Path) -> bytes:
    """Return what a small file holds, wherever it lies.

    Raises:
        OSError: it cannot be read; ``strerror`` says why.
    """
    if not is_remote(path):
        return path.read_bytes()
    try:
        with open_bytes(path) as file:
            return file.read()
    except Exception as error:  # every protocol has errors of its own
        raise OSError(errno.EIO, network_reason(error, path)) from error


WITHOUT_RANGES = "its server ignores the header Range, so that parts of a file cannot be read: use another server"


def ignores_ranges(file: Any) -> bool:
    """Return whether a server answers a request for the first byte of a file with more than that; no bucket does."""
    if is_bucket(file):
        return False
    try:
        return len(file.fs.cat_file(str(file), start=0, end=1)) > 1
    except Exception:  # whatever else is wrong with it
        return False


def open_bytes(path: Path, parts: Parts | None = None) -> BufferedReader:
    """Return the file of a location; one over the network is fetched by blocks as it is read.

    Args:
        path: Where it is.
        parts: Of what is read over the network, see :class:`~wsi_segment.inference.places.object_file.ObjectFile`.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_remote(path):
        return path.open("rb")
    if is_bucket(path):
        with needs_extra("remote", f"reading {path}"):
            pass
        return cast("BufferedReader", ObjectFile(path, parts))
    remote: Any = path
    if parts is not None and not parts.state:
        parts.state = _state_of(path)
    return cast("BufferedReader", remote.open("rb", block_size=_BLOCK, cache_type="blockcache"))


def is_replaced(path: Path, parts: Parts) -> bool:
    """Return whether another file is by now at an address that was opened with ``parts``, as far as its server tells.

    One of another size is another one. Of the same size it is if all that the server names its content by has changed:
    several machines that serve one file may give it an ``ETag`` each, and a file that was touched has another time.

    Raises:
        OSError: it cannot be read.
    """
    try:
        now = _state_of(path) if parts.state else {}
    except Exception as error:  # every protocol has errors of its own
        raise OSError(errno.EIO, network_reason(error, path)) from error
    changed = {name: now[name] != before for name, before in parts.state.items() if name in now}
    return changed.pop("size", False) or (any(changed.values()) and all(changed.values()))


def _state_of(path: Path) -> dict[str, str]:
    if is_bucket(path):
        folder, key = object_of(path)
        found = folder.look(key, 1)
        return {} if found is None else named_by(found[1])
    remote: Any = path
    described = remote.fs.info(str(path))
    return {name: str(described[name]) for name in _VALIDATORS if described.get(name)}
