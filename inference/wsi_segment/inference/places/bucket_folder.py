"""Objects in a bucket: a folder of them."""

from __future__ import annotations

import errno
import math
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from wsi_segment.errors import InputError, RunError
from wsi_segment.inference.places.bucket_client import client_of, is_of_store, reason_of

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")
"""Schemes of addresses that can be written to."""

_AT_ONCE = 8
_TRIES = 4
_TRY_WITHIN = 75.0
"""Seconds since the first try in which another one begins: a listing that stalls takes 60 of them."""
_CUT_OFF = re.compile("body error|decoding|end of file|EOF|incomplete|invalid list|connection closed|NoSuchUpload")
"""Where an answer was. If it said that an upload in parts is complete, obstore finds none that it could abort."""
_WRITER = "writer"
"""Name of what is kept beside an object; Azure takes no hyphens in it."""

T = TypeVar("T")
R = TypeVar("R")


class TakenError(Exception):
    """An object is there already, or is another one than was expected."""


def is_bucket(path: str | Path) -> bool:
    """Return whether a location is an address of an object store."""
    return not isinstance(path, Path) and str(path).partition("://")[0] in SCHEMES


def refuse_odd_names(path: str | Path) -> None:
    """Refuse an address of which no object can be reached; a key is taken as it stands, ``%`` and all.

    Raises:
        InputError: a part of it is empty, ``.`` or ``..``, which other programs leave out, or holds control characters.
    """
    bucket, *parts = str(path).partition("://")[2].rstrip("/").split("/")
    if not bucket:
        raise InputError(f"{path}: names no bucket; give an address such as s3://bucket/name")
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{path}: an address of objects has no empty part, no . and no ..; write it without")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for part in parts for letter in part):
        raise InputError(f"{str(path)!r}: a name of objects has characters that cannot be used; give another name")


def object_folder(path: Path) -> ObjectFolder:
    """Return the objects below an address, whose account, if it names one, the location keeps apart."""
    scheme, _, rest = str(path).rstrip("/").partition("://")
    container, slash, key = rest.partition("/")
    account = getattr(path, "storage_options", {}).get("account_name")
    host = f"@{account}.dfs.core.windows.net" if account else ""
    return ObjectFolder(f"{scheme}://{container}{host}{slash}{key}")


def object_of(path: Path) -> tuple[ObjectFolder, str]:
    """Return the folder and the key of an object."""
    return object_folder(path.parent), path.name


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """The objects whose names begin alike; see :class:`wsi_segment.inference.places.folder.Folder`."""

    address: str
    """``s3://bucket/prefix`` and the like, without a slash at the end; what follows the bucket is no URL but the name
    of objects as it is, in which ``%``, ``#`` and ``?`` stand for themselves."""

    @property
    def path(self) -> Path:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        from upath import UPath

        location: Any = UPath(self.address)
        return location  # type: ignore[no-any-return]

    @property
    def near(self) -> bool:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        return False

    @property
    def client(self) -> Any:
        """Return what obstore reaches the bucket by; of each bucket there is one in a process."""
        return client_of(self._parts[0])

    def name(self, key: str = "") -> str:
        """Return the name of an object in its bucket."""
        return f"{self._parts[1]}/{key}".strip("/")

    def put(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        def one(item: tuple[str, bytes]) -> None:
            self.ask(lambda: obstore.put(self.client, self.name(item[0]), item[1], use_multipart=False))

        at_once(one, list(contents.items()))

    def zarr_store(self) -> Any:
        """Return what zarr reads the folder by."""
        from zarr.storage import ObjectStore

        bucket, prefix = self._parts
        return ObjectStore(client_of(f"{bucket}/{quote(prefix)}"), read_only=True)  # by a URL, which is decoded

    def put_file(self, key: str, file: Any) -> None:
        """Put what an open file holds, in parts if it is large."""
        import obstore

        def put() -> None:
            file.seek(0)  # an earlier try has read it to its end
            obstore.put(self.client, self.name(key), file)

        self.ask(put, within=math.inf)  # of many requests, so that the time tells nothing

    def get(self, key: str) -> bytes | None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        found = self.look(key)
        return None if found is None else found[0]

    def look(self, key: str, count: int | None = None) -> tuple[bytes, Mapping[str, Any]] | None:
        """Return what an object holds, or its first bytes; ``e_tag``, ``last_modified``, ``size`` and ``writer`` of it.

        Raises:
            OSError: it cannot be read.
        """
        import obstore

        def look() -> tuple[bytes, Mapping[str, Any]]:
            options: Any = None if count is None else {"range": (0, count)}
            found = obstore.get(self.client, self.name(key), options=options)
            return bytes(found.bytes()), dict(found.meta) | {"writer": found.attributes.get(_WRITER)}

        try:
            return self.ask(look, FileNotFoundError)
        except FileNotFoundError:
            return None

    def ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return parts of an object, of which neighbours come with one request, and nothing that was not asked for.

        Raises:
            OSError: they cannot be read.
        """
        import obstore

        def fetch() -> list[bytes]:
            name = self.name(key)
            return [
                bytes(one) for one in obstore.get_ranges(self.client, name, starts=starts, lengths=lengths, coalesce=0)
            ]

        return self.ask(fetch, FileNotFoundError)

    def create(self, key: str, content: bytes, writer: str = "") -> Mapping[str, Any]:
        """Put an object where there is none; return what names this state of it.

        Args:
            key: Of the object.
            content: What it holds.
            writer: Kept beside it, so that who put it can be told even where another one puts the same.

        Raises:
            TakenError: there is one.
        """
        return self._conditional(key, content, "create", writer)

    def replace(self, key: str, content: bytes, state: Mapping[str, Any], writer: str = "") -> Mapping[str, Any]:
        """Put an object in place of a known state of it; return what names the new one.

        Raises:
            TakenError: it has another state, or is gone.
        """
        known = {name: state[name] for name in ("e_tag", "version") if state.get(name) is not None}
        return self._conditional(key, content, known, writer)

    def find(self, prefix: str = "") -> list[str]:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        def names() -> list[str]:
            return [str(one["path"]) for page in obstore.list(self.client, self.name(prefix)) for one in page]

        below = f"{self.name()}/"
        return sorted(name.removeprefix(below) for name in self.ask(names))

    def holds_any(self) -> bool:
        """Return whether there is any object."""
        import obstore

        return self.ask(lambda: any(len(page) for page in obstore.list(self.client, self.name(), chunk_size=1)))

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        names = [self.name(key) for key in keys]
        for start in range(0, len(names), 1000):
            some = names[start : start + 1000]
            with suppress(FileNotFoundError):
                self.ask(lambda: obstore.delete(self.client, some), FileNotFoundError)  # noqa: B023

    @property
    def _parts(self) -> tuple[str, str]:
        """Address of the bucket, and what the names of objects begin with."""
        scheme, _, rest = self.address.partition("://")
        bucket, _, prefix = rest.partition("/")
        return f"{scheme}://{bucket}", prefix.strip("/")

    def _conditional(self, key: str, content: bytes, mode: Any, writer: str) -> Mapping[str, Any]:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def put() -> Mapping[str, Any]:
            name, kept = self.name(key), {_WRITER: writer} if writer else None
            return dict(obstore.put(self.client, name, content, mode=mode, attributes=kept, use_multipart=False))

        refused = AlreadyExistsError, PreconditionError, FileNotFoundError
        try:
            return self.ask(put, *refused)
        except refused as error:
            raise TakenError(key) from error

    def ask(self, call: Callable[[], R], *through: type[Exception], within: float = _TRY_WITHIN) -> R:
        """Call something that makes requests, and again where an answer was cut off, which obstore leaves at that.

        Args:
            call: What is called.
            through: Errors that are raised as they are; that there is no such bucket is not one of them.
            within: Seconds after which it is not called again.

        Raises:
            OSError: anything else, in one line.
        """
        from obstore.exceptions import BaseError

        began = time.monotonic()
        for attempt in range(_TRIES):
            try:
                return call()
            except (BaseError, OSError) as error:
                text = str(error)
                if isinstance(error, through) and "NoSuchBucket" not in text:
                    raise
                late = attempt == _TRIES - 1 or time.monotonic() - began > within
                if late or not _CUT_OFF.search(text):
                    raise OSError(errno.EIO, reason_of(error, self.address)) from error
        raise AssertionError


@contextmanager
def reaching(location: Path) -> Iterator[None]:
    """Say in one line that a bucket failed while something in it was read; zarr passes on what obstore raises.

    Raises:
        RunError: it failed, which tells nothing of what is in it.
    """
    try:
        yield
    except Exception as error:  # obstore's errors and the system's have no common type
        if not is_bucket(location) or not (isinstance(error, OSError) or is_of_store(error)):
            raise
        reason = getattr(error, "strerror", None) or reason_of(error, str(location))
        raise RunError(f"{location}: cannot be read: {reason}") from error


def refuse_unreachable(location: Path) -> None:
    """Refuse a mask in a bucket that does not answer, or is not there, which to zarr is an empty one.

    Raises:
        RunError: it cannot be read.
    """
    if is_bucket(location):
        with reaching(location):
            object_folder(location).get("zarr.json")  # one request; zarr makes several, and loses the errors of some


def at_once(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Call something for each item, for a few at once."""
    if len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="object") as pool:
        return list(pool.map(call, items))
