"""Where one store comes to stand: its final name, and what lies beside it until it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from wsi_segment.inference.places.folder import Folder
from wsi_segment.inference.places.ledger_records import Records


class Site(Protocol):
    """The final name of a store, the files that it grows by, and records of what is done, ``<final>.partial``.

    Under the final name there is nothing that can be opened, or a complete store. One process at a time writes.
    """

    @property
    def final(self) -> Path:
        """Return the final name."""

    @property
    def partial(self) -> Path:
        """Return the name of what goes when the store is complete."""

    @property
    def store(self) -> Folder:
        """Return where the files of the growing store are put, once :meth:`acquire` was given a run."""

    @property
    def records(self) -> Records:
        """Return what says which run was started, and what it has done."""

    def tidy(self) -> None:
        """Remove what a run left that was cut off after its store was complete."""

    def probe(self, beside: Iterable[Path]) -> None:
        """Make sure that the store, and files beside it, can be written.

        Raises:
            OutputError: something is in the way, a name is too long, or nothing may be written there.
        """

    def is_taken(self) -> bool:
        """Return whether there is anything under the final name that no unfinished run has put there."""

    def read(self, key: str) -> bytes | None:
        """Return a file of what is under the final name; None where there is none."""

    def acquire(self, run: str, wait: Callable[[str], None] = lambda reason: None) -> None:
        """Become the only process that writes.

        Args:
            run: Name of its run. What processes of another run still write, however late, does not get into its store.
            wait: Called now and then with what is waited for, where that takes long; may raise to stop.

        Raises:
            OutputError: another one is writing.
        """

    def check(self) -> None:
        """Make sure that this is still the only process that writes.

        Raises:
            OutputError: another one has taken over.
        """

    def is_held(self) -> bool:
        """Return whether this surely is the only process that writes, as far as is known without asking."""

    def release(self) -> None:
        """Let other processes write."""

    def holds_store(self) -> bool:
        """Return whether the growing store of a run that was started is there."""

    def clear(self) -> None:
        """Make room for a run that starts: remove what another one left unfinished, and records of it."""

    def resume(self) -> None:
        """Make ready for a run that goes on."""

    def publish(self, metadata: Mapping[str, bytes]) -> None:
        """Complete the store with its metadata, the last of which makes it one, and let it appear under its final name.

        What stood there before is gone then, and all that lay beside it.
        """
