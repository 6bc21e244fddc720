"""A store in a bucket: its shards are put where they stay, and what makes it a store comes last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from time import sleep

from wsi_segment.errors import OutputError
from wsi_segment.inference.places import bucket_shards
from wsi_segment.inference.places.bucket_folder import ObjectFolder, at_once, object_folder
from wsi_segment.inference.places.bucket_shards import RUN, ShardFolder
from wsi_segment.inference.places.folder import try_to_put
from wsi_segment.inference.places.lease import Lease
from wsi_segment.inference.places.ledger_records import run_name, sealed, unsealed

_ROOTS = ("zarr.json", ".zgroup", ".zattrs")
_REPLACING, _LEASE = "replacing", "lease"
_LONGEST_NAME = 1024


class ObjectRecords:
    """An object for what is started, and one for each record.

    See :class:`wsi_segment.inference.places.ledger_records.Records`.
    """

    def __init__(self, folder: ObjectFolder, run: str = "") -> None:
        """Look at nothing yet."""
        self._folder, self._run = folder, run

    def __reduce__(self) -> tuple[object, ...]:
        """Remember the run wherever it is unpickled."""
        return type(self), (self._folder, self._run)

    def started(self) -> bytes | None:
        """See :class:`wsi_segment.inference.places.ledger_records.Records`."""
        found = self._folder.get(RUN)
        body = None if found is None else unsealed(found)
        if body is not None:
            self._run = run_name(body)
        return body

    def start(self, body: bytes) -> None:
        """See :class:`wsi_segment.inference.places.ledger_records.Records`."""
        self._run = run_name(body)
        self._folder.put({RUN: sealed(body)})

    def finished(self) -> Iterator[bytes]:
        """See :class:`wsi_segment.inference.places.ledger_records.Records`."""
        keys = self._folder.find(f"regions-{self._run}/")
        for start in range(0, len(keys), 256):
            for found in at_once(self._folder.get, keys[start : start + 256]):
                if found is not None and (body := unsealed(found)) is not None:
                    yield body

    def add(self, key: str, body: bytes) -> None:
        """See :class:`wsi_segment.inference.places.ledger_records.Records`."""
        self._folder.put({f"regions-{self._run}/{key}": sealed(body)})

    def close(self) -> None:
        """See :class:`wsi_segment.inference.places.ledger_records.Records`."""


def _refuse_to_wait(reason: str) -> None:
    raise OutputError(reason)


class BucketSite:
    """Shards lie under the final name while they come; ledger and lease lie in ``<final>.partial/``.

    Nothing can be opened until the root's metadata is put, which is the last object. An object store cannot rename:
    where a store is to be replaced, the old one goes before the new one begins.
    """

    def __init__(self, final: Path) -> None:
        """Look at nothing yet."""
        self.final = final
        self.partial = final.with_name(f"{final.name}.partial")
        self._final = object_folder(final)
        self._beside = object_folder(self.partial)
        self._run = ""
        self.records = ObjectRecords(self._beside)
        self._lease = Lease(self._beside, str(final))

    @property
    def store(self) -> ShardFolder:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return ShardFolder(self._final.address, self._beside, self._run, self.is_held)

    def tidy(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        try:
            if self._beside.holds_any() and self._beside.get(_REPLACING) is None and self._has_root():
                with suppress(OutputError):  # the run that publishes it lives, or may live on another machine
                    self._lease.acquire(_refuse_to_wait)
                    try:
                        self._clear_beside()
                    finally:
                        self.release()
        except OSError as error:
            raise OutputError(f"{self.final}: cannot be looked at: {error.strerror}; choose another `out`") from error

    def probe(self, beside: Iterable[Path]) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        for folder in (self._beside, *map(object_folder, beside)):
            if len(folder.name().encode()) > _LONGEST_NAME - 100:
                raise OutputError(f"{self.final}: names of objects have {_LONGEST_NAME} bytes; choose a shorter `out`")
        try:
            try_to_put(self._beside, "probe")
        except OSError as error:
            raise OutputError(f"{self.final}: cannot be written to ({error.strerror}); choose another `out`") from error

    def is_taken(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        if not self._final.holds_any():
            return False
        return self._has_root() or all(self._beside.get(mark) is None for mark in (RUN, _REPLACING))

    def read(self, key: str) -> bytes | None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return self._final.get(key)

    def acquire(self, run: str, wait: Callable[[str], None] = lambda reason: None) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self._run = run
        self._lease.acquire(wait)

    def check(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self._lease.check()

    def is_held(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return self._lease.is_certain()

    def release(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        try:
            self._lease.release()
        except OSError:
            return  # it ends by itself

    def holds_store(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return not self._has_root()

    def clear(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        unfinished = any(self._beside.get(mark) is not None for mark in (RUN, _REPLACING))
        old = self._final.find()
        if old or unfinished:
            self._beside.put({_REPLACING: b""})  # so that what is left is known, if this is cut off
            self._beside.delete([RUN])
        if unfinished:  # its processes may put shards still, until they look whether it is under way
            sleep(bucket_shards.TRUSTED_SECONDS)
            old = self._final.find()
        if old:
            self._final.delete(_ROOTS)
            self._final.delete(old)
        self._clear_beside()

    def resume(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""

    def publish(self, metadata: Mapping[str, bytes]) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        store = self.store  # which does not put where another run has taken over
        for depth, files in groupby(metadata.items(), key=lambda item: item[0].count("/")):
            if depth:
                store.put(dict(files))
                continue
            for key, content in files:  # one by one, the one that makes it a store at the very end
                store.put({key: content})
        self._clear_beside()
        self.release()

    def _has_root(self) -> bool:
        return any(self._final.get(name) is not None for name in ("zarr.json", ".zgroup"))

    def _clear_beside(self) -> None:
        """Remove all that lies beside but the lease, and what tells that it may go at the end."""
        keys = [key for key in self._beside.find() if key not in (_LEASE, RUN, _REPLACING)]
        self._beside.delete(keys)
        self._beside.delete([RUN, _REPLACING])
