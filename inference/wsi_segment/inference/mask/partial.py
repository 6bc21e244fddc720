"""Where a run writes: beside the final name until all is done, and then under it at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from wsi_segment.errors import OutputError
from wsi_segment.files import refuse_existing, refuse_long_names, sync_folder, sync_tree
from wsi_segment.inference.mask.ledger import Ledger, RunIdentity
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.summary import summary_paths

_STORE, _LOCK, _REPLACED = "store", "lock", "replaced"


class Output:
    """``<final>.partial/`` holds the growing store and the ledger; publishing renames the store.

    Whatever happens, the final name is either free, or a complete store. One process at a time may
    hold the partial folder; the lock goes with the process, however it ends.
    """

    def __init__(self, final: Path, overwrite: bool) -> None:
        """Look whether there is room under a name.

        Raises:
            OutputError: it is no name, it is taken, its folder is read-only, what would be replaced is no mask, or a
                name that will be made beside it is longer than the file system takes.
        """
        if not final.name:  # of "." and "/"
            raise OutputError(f"{final}: not a name for a mask; give `out` as NAME.zarr")
        self.final = final
        self.partial = final.with_name(final.name + ".partial")
        refuse_long_names((final, self.partial, *summary_paths(final)))
        self._overwrite = overwrite
        self._lock = FileLock(self.partial / _LOCK, timeout=0)
        self._clear_finished()
        self.refuse_taken()
        if self.partial.exists() and not self.partial.is_dir():
            raise OutputError(f"{self.partial}: is in the way; remove it, or choose another `out`")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            probe = final.with_name(final.name + ".probe")
            probe.mkdir(exist_ok=True)
            probe.rmdir()
        except OSError as error:
            raise OutputError(
                f"{final.parent}: cannot be written to ({error.strerror}); choose another `out`"
            ) from error

    def _clear_finished(self) -> None:
        """Remove what a run left that was cut off after its store had the final name."""
        if not self.final.exists() or not self.partial.is_dir() or self.store.exists():
            return
        try:
            with self._lock:
                for left in self.partial.iterdir():
                    if left.is_dir():
                        shutil.rmtree(left)
            shutil.rmtree(self.partial)
        except (Timeout, OSError):
            return

    @property
    def store(self) -> Path:
        """Path of the growing store."""
        return self.partial / _STORE

    def started(self) -> RunIdentity | None:
        """Return the identity of the run that was started here, or None; another process may be at it."""
        return Ledger(self.partial).started

    def begin(self, identity: RunIdentity) -> Ledger:
        """Take the partial folder and return its ledger; without ``started`` in it, the store is yet to be made.

        Raises:
            OutputError: another process writes there, or it was started by another run.
        """
        self.partial.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise OutputError(
                f"{self.final}: another run is writing it; wait for it, or choose another `out`"
            ) from None
        ledger = Ledger(self.partial)
        difference = None if ledger.started is None else ledger.started.difference(identity)
        if difference is not None and not self._overwrite:
            raise OutputError(f"{self.partial}: {difference}; repeat it with the same, or `overwrite` it")
        if ledger.started is not None and difference is None and self.store.exists():
            for torn in self.store.rglob("*.partial"):  # what zarr was writing when it was cut off
                torn.unlink()
            return ledger
        for left in self.partial.iterdir():
            if left.name == _REPLACED and not self.final.exists():
                left.rename(self.final)  # an overwriting run was cut off between its two renames
            elif left.is_dir():
                shutil.rmtree(left)
            elif left.name != _LOCK:
                left.unlink()
        return Ledger(self.partial)

    def publish(self) -> None:
        """Put the store under the final name in one step, and remove what is left.

        Raises:
            OutputError: something appeared under the final name meanwhile.
        """
        self.refuse_taken()
        sync_tree(self.store)
        if self.final.exists():
            self.final.rename(self.partial / _REPLACED)
        self.store.rename(self.final)
        sync_folder(self.final.parent)
        self.release()
        shutil.rmtree(self.partial, ignore_errors=True)

    def release(self) -> None:
        """Let other processes have the partial folder."""
        self._lock.release(force=True)

    def refuse_taken(self) -> None:
        """Make sure that the final name may be used.

        Raises:
            OutputError: it is taken, and not to be overwritten or no mask.
        """
        refuse_existing(self.final, overwrite=self._overwrite)
        if self.final.exists() and not _is_mask(self.final):
            raise OutputError(f"{self.final}: is not a mask of wsi-segment, it is not replaced; choose another `out`")


def _is_mask(path: Path) -> bool:
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            attributes = json.loads((path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return ATTRIBUTE in (attributes.get(key, {}) if key else attributes)
    return False
