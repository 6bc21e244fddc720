"""Objects in a bucket: a folder of them, and how to reach them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from wsi_segment.extras import needs_extra

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")
"""Of addresses that can be written to."""

_AT_ONCE = 8
_TIMEOUT = timedelta(seconds=60)
"""For a whole request, its body included."""
_RETRY_FOR = timedelta(minutes=3)
_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthorizationHeader")

T = TypeVar("T")
R = TypeVar("R")


class TakenError(Exception):
    """An object is there already, or is another one than was expected."""


def is_bucket(path: Path) -> bool:
    """Return whether a location is an address of an object store."""
    return not isinstance(path, Path) and str(path).partition("://")[0] in SCHEMES


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """The objects whose names begin alike; see :class:`wsi_segment.inference.places.folder.Folder`."""

    address: str
    """``s3://bucket/prefix`` and the like, without a slash at the end."""

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
        return _client(self._parts[0])

    def name(self, key: str = "") -> str:
        """Return the name of an object in its bucket."""
        return f"{self._parts[1]}/{key}".strip("/")

    def put(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        def one(item: tuple[str, bytes]) -> None:
            with self.said():
                obstore.put(self.client, self.name(item[0]), item[1], use_multipart=False)

        at_once(one, list(contents.items()))

    def zarr_store(self) -> Any:
        """Return what zarr reads the folder by."""
        from zarr.storage import ObjectStore

        return ObjectStore(_client(self.address), read_only=True)

    def put_file(self, key: str, file: Any) -> None:
        """Put what an open file holds, in parts if it is large."""
        import obstore

        with self.said():
            obstore.put(self.client, self.name(key), file)

    def get(self, key: str) -> bytes | None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        found = self.look(key)
        return None if found is None else found[0]

    def look(self, key: str) -> tuple[bytes, Mapping[str, Any]] | None:
        """Return what an object holds, and what the store says of it: ``e_tag``, ``version``, ``last_modified``."""
        import obstore

        for attempt in range(4):
            try:
                with self.said():
                    found = obstore.get(self.client, self.name(key))
                    return bytes(found.bytes()), dict(found.meta)
            except FileNotFoundError:
                return None
            except OSError:  # a body that was cut off is not fetched again by the library
                if attempt == 3:
                    raise
        return None

    def create(self, key: str, content: bytes) -> Mapping[str, Any]:
        """Put an object where there is none; return what names this state of it.

        Raises:
            TakenError: there is one.
        """
        return self._conditional(key, content, "create")

    def replace(self, key: str, content: bytes, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put an object in place of a known state of it; return what names the new one.

        Raises:
            TakenError: it has another state, or is gone.
        """
        known = {name: state[name] for name in ("e_tag", "version") if state.get(name) is not None}
        return self._conditional(key, content, known)

    def find(self, prefix: str = "") -> list[str]:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        with self.said():
            below = self.name()
            names = [str(one["path"]) for page in obstore.list(self.client, self.name(prefix)) for one in page]
        return sorted(name.removeprefix(f"{below}/") for name in names)

    def holds_any(self) -> bool:
        """Return whether there is any object."""
        import obstore

        with self.said():
            return any(len(page) for page in obstore.list(self.client, self.name(), chunk_size=1))

    def delete(self, keys: Iterable[str]) -> None:
        """See :class:`wsi_segment.inference.places.folder.Folder`."""
        import obstore

        names = [self.name(key) for key in keys]
        for start in range(0, len(names), 1000):
            with self.said():
                try:
                    obstore.delete(self.client, names[start : start + 1000])
                except FileNotFoundError as error:
                    if "NoSuchBucket" in str(error):
                        raise

    @property
    def _parts(self) -> tuple[str, str]:
        """Address of the bucket, and what the names of objects begin with."""
        scheme, _, rest = self.address.partition("://")
        bucket, _, prefix = rest.partition("/")
        return f"{scheme}://{bucket}", prefix.strip("/")

    def _conditional(self, key: str, content: bytes, mode: Any) -> Mapping[str, Any]:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self.said(AlreadyExistsError, PreconditionError):
                return dict(obstore.put(self.client, self.name(key), content, mode=mode, use_multipart=False))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            raise TakenError(key) from error

    @contextmanager
    def said(self, *through: type[Exception]) -> Iterator[None]:
        """Turn what obstore raises into an ``OSError`` of one line."""
        from obstore.exceptions import BaseError

        try:
            yield
        except through:
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise OSError(errno.ENOENT, reason_of(error, self.address)) from error
        except (BaseError, OSError) as error:
            raise OSError(errno.EIO, reason_of(error, self.address)) from error


def at_once(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Call something for each item, for a few at once."""
    if len(items) < 2:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="object") as pool:
        return list(pool.map(call, items))


def reason_of(error: Exception, address: str) -> str:
    """Return in a few words why a request failed; the library answers in twenty lines."""
    text = " ".join(str(error).split())
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d+ [A-Za-z ]+)", text)
    if code and code[1] == "NoSuchBucket":
        return f"there is no bucket {address.partition('://')[2].partition('/')[0]}"
    if code and code[1].startswith(_CREDENTIALS):
        return f"the credentials are not accepted ({code[1]})"
    if "169.254.169.254" in text or "instance metadata" in text:
        return "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if (code and code[1] == "AccessDenied") or (status and status[1].startswith("403")):
        return "access is denied"
    if status:
        return f"the store answers {status[1].strip()}{f' ({code[1]})' if code else ''}"
    last = re.findall(r"(?:error|timed out)[^:{]*", text.split("Debug source")[0])
    return f"the store cannot be reached ({last[-1].strip() if last else text[:120]})"


@lru_cache(64)
def _client(address: str) -> Any:
    with needs_extra("remote", "writing to object stores"):
        from obstore.store import from_url

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    more: dict[str, Any] = {}
    if address.startswith("s3"):
        if os.environ.get("AWS_ENDPOINT_URL_S3"):
            more["endpoint"] = endpoint
        more |= _from_profile()
    return from_url(
        address,
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": _TIMEOUT},
        retry_config={"max_retries": 10, "retry_timeout": _RETRY_FOR},
        **more,
    )


def _from_profile() -> dict[str, Any]:
    """Return credentials and region of a profile, as other programs for S3 find them, where no variable has them."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    session = boto3.Session()
    if session.get_credentials() is None:
        return {}
    region = {"region": session.region_name} if session.region_name else {}
    return {"credential_provider": Boto3CredentialProvider(session)} | region
