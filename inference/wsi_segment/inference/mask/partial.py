"""The output of a run: it grows where nothing takes it for a mask, and gets its name once it is complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_segment.errors import OutputError
from wsi_segment.files import printable, refuse_existing
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.mask.ledger import FinishedRegion, Ledger, RunIdentity
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.mask.store import MaskLayout, MaskStore
from wsi_segment.inference.mask.summary import summary_paths
from wsi_segment.inference.places.folder import Folder
from wsi_segment.inference.places.sites import folder_of, site_of
from wsi_segment.inference.progress import Step

Finisher = Callable[[Iterable[FinishedRegion], Step], Mapping[str, bytes]]
"""Makes the coarse levels of a store of which all regions are there; returns its metadata by key."""


@dataclass(frozen=True, slots=True)
class Left:
    """A file beside a growing store; it pickles as its name, and can be read in any process that reaches the place."""

    folder: Folder
    key: str

    def read(self) -> bytes | None:
        """Return what the file holds; None where it is gone."""
        return self.folder.get(self.key)

    def __str__(self) -> str:
        """Return where it is."""
        return f"{printable(self.folder.path)}/{self.key}"


class Output:
    """One mask, from the first look at its name to the moment when it appears there.

    Whatever happens, under the final name there is nothing that can be opened, or a complete store. One process at a
    time may begin the output; regions may be written by others, see :class:`RegionWriter`.
    """

    def __init__(self, final: Path, overwrite: bool) -> None:
        """Look whether there is room under a name.

        Raises:
            OutputError: it is no name, it is taken, nothing may be written there, what would be replaced is no mask, or
                a name that will be made beside it is longer than the place takes.
        """
        if not final.name:  # of "." and "/"
            raise OutputError(f"{final}: not a name for a mask; give `out` as NAME.zarr")
        self.final = final
        self._site = site_of(final)
        self._overwrite = overwrite
        self._ledger: Ledger | None = None
        self._store: MaskStore | None = None
        self._metadata: Mapping[str, bytes] = {}
        self._site.tidy()
        self.refuse_taken()
        self._site.probe(summary_paths(final))

    def started(self) -> RunIdentity | None:
        """Return the identity of the run that was started here, or None; another process may be at it."""
        return Ledger(self._site.records).started

    def begin(
        self, identity: RunIdentity, layout: MaskLayout, wait: Callable[[str], None] = lambda reason: None
    ) -> RegionWriter:
        """Take the place, and go on with this very run if it was started there; else start it.

        Args:
            identity: Of the run.
            layout: What the store is made of.
            wait: Called now and then with what is waited for, where that takes long; may raise to stop.

        Returns:
            What regions are written with; those that are not ``finished`` are missing.

        Raises:
            OutputError: another process writes there, it was started by another run, or it is finished by now.
        """
        self._site.acquire(identity.run_id, wait)
        self.refuse_taken()  # by a run that has ended since this one looked
        ledger = Ledger(self._site.records)
        difference = None if ledger.started is None else ledger.started.difference(identity)
        if difference is not None and not self._overwrite:
            raise OutputError(f"{self._site.partial}: {difference}; repeat it with the same, or `overwrite` it")
        if ledger.started is not None and difference is None and self._site.holds_store():
            self._site.resume()
        else:
            self._site.clear()
            ledger = Ledger(self._site.records)
        self._ledger, self._store = ledger, MaskStore(self._site.store, layout)
        if self._site.store.near:  # where nobody takes it for a finished mask, it can be looked at while it grows
            self._site.store.put(self._store.metadata)
        ledger.begin(identity)
        frame, size = layout.metadata.frame, layout.region_size
        for region in ledger.read(rows=ceil_div(frame.height, size), columns=ceil_div(frame.width, size)):
            self._store.keep(region)
        return RegionWriter(self._store, self._site.records, identity.run_id)

    @property
    def finished(self) -> Mapping[str, FinishedRegion]:
        """Return the regions that are finished, by key; at first those of earlier runs."""
        return {} if self._ledger is None else self._ledger.finished

    def leave(self, key: str, content: bytes) -> Left:
        """Leave a file for the processes that write regions, until the output is published."""
        folder = folder_of(self._site.partial)
        folder.put({key: content})
        return Left(folder, key)

    def take(self, region: FinishedRegion) -> None:
        """Count a region that a :class:`RegionWriter` has written; twice is harmless, and so is any order."""
        assert self._ledger is not None
        assert self._store is not None
        if region.key not in self._ledger.finished:
            self._store.keep(region)
            self._ledger.take(region)

    def check(self) -> None:
        """Make sure that no other process has taken over.

        Raises:
            OutputError: one has.
        """
        self._site.check()

    def is_held(self) -> bool:
        """Return whether no other process can have taken over, as far as is known without asking."""
        return self._site.is_held()

    def finish(self, provenance: dict[str, Any], step: Step, make: Finisher | None = None) -> None:
        """Make the coarse levels and the metadata, when all regions are finished.

        Args:
            provenance: The whole of it, as JSON.
            step: Called with (blocks done, 0) after each; may raise to stop.
            make: Does it elsewhere, as :meth:`wsi_segment.inference.mask.store.MaskStore.finish` does it here.
        """
        assert self._store is not None
        regions = self.finished.values()
        if make is not None:
            self._metadata = make(self._store.with_coarsest(regions), step)
        else:
            self._metadata = self._store.finish(regions, provenance, step)

    def mask(self) -> Mask:
        """Open the mask after :meth:`finish`, while nobody else can; of 100,000 regions that takes much memory."""
        return Mask.of_parts(self.final, self._site.store.path, self._metadata)

    def discard(self) -> None:
        """Remove what was computed, so that no run goes on with it."""
        self._site.check()
        self._site.records.close()
        self._site.clear()

    def publish(self) -> None:
        """Put the store under the final name in one step, and remove what is left.

        Raises:
            OutputError: something has appeared under the final name since then, or another process has taken over.
        """
        self.refuse_taken()
        self._site.check()
        self._site.publish(self._metadata)

    def release(self) -> None:
        """Let other processes have the place."""
        if self._store is not None:
            self._store.close()
        self._site.release()

    def refuse_taken(self) -> None:
        """Make sure that the final name may be used.

        Raises:
            OutputError: it is taken, and not to be overwritten or no mask.
        """
        if not self._site.is_taken():
            return
        refuse_existing(self.final, overwrite=self._overwrite, exists=True)
        if not _is_mask(self._site.read):
            raise OutputError(f"{self.final}: is not a mask of wsi-segment, it is not replaced; choose another `out`")


def _is_mask(read: Callable[[str], bytes | None]) -> bool:
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            attributes = json.loads(read(name) or b"")
        except (OSError, ValueError):
            continue
        return ATTRIBUTE in (attributes.get(key, {}) if key else attributes)
    return False
