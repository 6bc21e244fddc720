"""Where a run writes: beside the final name until all is done, and then under it at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from wsi_segment.inference.durable import sync_folder
from wsi_segment.inference.ledger import LEDGER_FILE, difference
from wsi_segment.model.errors import OutputError

_STORE = "store"


class Output:
    """``<final>.partial/`` holds the growing store and the ledger; publishing renames the store.

    Whatever happens, the final name is either free, or a complete store.
    """

    def __init__(self, final: Path, overwrite: bool) -> None:
        """Look whether there is room under a name.

        Raises:
            OutputError: it is taken, or its folder is missing or read-only.
        """
        self.final = final
        self.partial = final.with_name(final.name + ".partial")
        self._overwrite = overwrite
        if final.exists() and not overwrite:
            raise OutputError(f"{final}: exists already; give another --out, or --overwrite to replace it")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            probe = final.with_name(final.name + ".probe")
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise OutputError(
                f"{final.parent}: cannot be written to ({error.strerror}); choose another --out"
            ) from error

    @property
    def store(self) -> Path:
        """Path of the growing store."""
        return self.partial / _STORE

    def begin(self, run: dict[str, Any]) -> bool:
        """Make the partial folder; False where one of the same run is there to be continued.

        Args:
            run: What makes the run what it is, see :class:`wsi_segment.inference.ledger.Ledger`.
        """
        begun = (self.partial / LEDGER_FILE).exists() and self.store.exists()
        if begun and not (self._overwrite and difference(self.partial, run)):
            for torn in self.store.rglob("*.partial"):  # what zarr was writing when it was cut off
                torn.unlink()
            return False
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        return True

    def publish(self) -> None:
        """Put the store under the final name in one step, and remove what is left."""
        old = self.partial / "replaced"
        if self.final.exists():
            self.final.rename(old)
        self.store.rename(self.final)
        sync_folder(self.final.parent)
        shutil.rmtree(self.partial, ignore_errors=True)
