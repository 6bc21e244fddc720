"""A store on this machine's disks: it grows beside its final name, and is renamed when it is complete."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wsi_segment.errors import OutputError
from wsi_segment.files import refuse_long_names, sync_folder
from wsi_segment.inference.places.folder import LocalFolder
from wsi_segment.inference.places.ledger_records import LineRecords

_STORE, _LOCK, _REPLACED, _REMOVED = "store", "lock", "replaced", "removed"


class LocalSite:
    """``<final>.partial/`` holds the growing store of one run, its ledger, and a lock that ends with its process."""

    def __init__(self, final: Path) -> None:
        """Look at nothing yet."""
        self.final = final
        self.partial = final.with_name(f"{final.name}.partial")
        self._run = ""
        self.records = LineRecords(self.partial)
        self._lock = FileLock(self.partial / _LOCK, timeout=0)

    @property
    def store(self) -> LocalFolder:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return LocalFolder(growing_store(self.partial, self._run), made_once=True)

    def tidy(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        if not self._is_left():
            return
        try:
            self._lock.acquire()
        except (Timeout, OSError):
            return
        if self._is_left():  # still: a run may have begun since then, and been cut off
            self._remove()
        else:
            self.release()

    def probe(self, beside: Iterable[Path]) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        refuse_long_names((self.final, self.partial, *beside))
        if self.partial.exists() and not self.partial.is_dir():
            raise OutputError(f"{self.partial}: is in the way; remove it, or choose another `out`")
        folder = self.final.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            Path(tempfile.mkdtemp(prefix=".probe-", dir=folder)).rmdir()  # a name that nobody else has
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written to ({error.strerror}); choose another `out`") from error

    def is_taken(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return self.final.exists()

    def read(self, key: str) -> bytes | None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return LocalFolder(self.final).get(key)

    def acquire(self, run: str, wait: Callable[[str], None] = lambda reason: None) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self._run = run
        while not self._lock.is_locked:
            self.partial.mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except FileNotFoundError:  # another run has just ended, and removed the folder
                continue
            except Timeout:
                if not (self.partial / _LOCK).exists():  # or the lock, which this one had found there
                    continue
                raise OutputError(
                    f"{self.final}: another run is writing it; wait for it, or choose another `out`"
                ) from None

    def check(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""

    def is_held(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return self._lock.is_locked

    def release(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self.records.close()
        self._lock.release(force=True)

    def holds_store(self) -> bool:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        return self.store.path.exists()

    def clear(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        for left in list(self.partial.iterdir()):
            if left.name == _REPLACED and not self.final.exists():
                left.rename(self.final)  # an overwriting run was cut off between its two renames
            elif left.is_dir():  # processes of its run may still write: under another name they find it gone
                shutil.rmtree(left.rename(self.partial / f"{_REMOVED}-{secrets.token_hex(8)}"))
            elif left.name != _LOCK:
                left.unlink()
        self.store.path.mkdir()
        sync_folder(self.partial)
        sync_folder(self.final.parent)

    def resume(self) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self.store.remove_torn()

    def publish(self, metadata: Mapping[str, bytes]) -> None:
        """See :class:`wsi_segment.inference.places.site.Site`."""
        self.store.remove_torn()  # of processes that died
        self.store.put(metadata)
        if self.final.exists():
            self.final.rename(self.partial / _REPLACED)
        self.store.path.rename(self.final)
        LocalFolder(self.final).remove_torn()  # of processes that write still, and find the store gone
        sync_folder(self.final.parent)
        self._remove()

    def _is_left(self) -> bool:
        """Return whether there is only what a run leaves that is cut off after its store is complete."""
        return self.final.exists() and self.partial.is_dir() and not any(self.partial.glob(f"{_STORE}*"))

    def _remove(self) -> None:
        """Remove what lies beside, and release the lock, without which nothing is touched: a run may begin then."""
        self.records.close()
        for left in self.partial.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left.name != _LOCK:
                with suppress(OSError):
                    left.unlink()
        with suppress(OSError):  # Windows removes it when it is released
            (self.partial / _LOCK).unlink()
        self.release()
        with suppress(OSError):  # not empty: another run has begun
            self.partial.rmdir()


def growing_store(partial: Path, run: str) -> Path:
    """Return where the store of a run grows, by what lies beside its final name."""
    return partial / f"{_STORE}-{run}"
