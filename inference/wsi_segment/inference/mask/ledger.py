"""The record of a growing output: which regions are finished, and of which run they are.

``ledger.jsonl`` has a line for the run and one per finished region, each ``crc32 json``, synced before
the region counts as finished. A line that was cut off, or follows one that was, is as if it were not there.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from wsi_segment.errors import OutputError
from wsi_segment.files import sync_folder

LEDGER_FILE = "ledger.jsonl"
_REGION_SIZE = "parameters.region_size"
_OWN_VERSION = "versions.wsi-segment"
"""Named before all other differences, most of which follow from it: newer libraries, parameters that were added."""


@dataclass(frozen=True, slots=True)
class FinishedRegion:
    """A region whose shards are on disk."""

    key: str
    pixels: tuple[int, ...]
    """Mask pixels of class 0, 1, ..., C."""
    windows: int
    sha256: str
    """Of the class ids at full size, row by row."""
    probabilities_sha256: str | None = None
    """Of the probabilities at full size, class by class, where they are kept and the region was predicted."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What makes a run what it is: only a run with the same identity continues one that was cut off.

    >>> old = RunIdentity.of({"versions": {"wsi-segment": "0.1.0"}, "parameters": {"region_size": 512}})
    >>> new = RunIdentity.of({"versions": {"wsi-segment": "0.2.0"}, "parameters": {"region_size": 512}})
    >>> old.difference(new)
    'was started with versions.wsi-segment = 0.1.0, this run has 0.2.0'
    >>> old.difference(old) is None, old.region_size
    (True, 512)
    """

    values: dict[str, Any]
    """Fingerprints, parameters and versions, by their keys in the provenance joined by dots; plain JSON."""

    @classmethod
    def of(cls, provenance: dict[str, Any]) -> RunIdentity:
        """Return the identity of the run with a provenance."""
        return cls(json.loads(json.dumps(_flat(provenance))))

    @property
    def region_size(self) -> int:
        """Side of the run's regions in mask pixels."""
        return int(self.values[_REGION_SIZE])

    def differs_in_region_size_only(self, other: RunIdentity) -> bool:
        """Return whether the other would be the same run with regions of this size, which follows from memory."""
        return self._differing(other) == {_REGION_SIZE}

    def difference(self, other: RunIdentity) -> str | None:
        """Return how a later run differs from this one, by the first key that does; None for the same run."""
        for key in sorted(self._differing(other), key=lambda key: (key != _OWN_VERSION, key)):
            before, now = _short(self.values.get(key)), _short(other.values.get(key))
            return f"was started with {key} = {before}, this run has {now}"
        return None

    def _differing(self, other: RunIdentity) -> set[str]:
        keys = self.values.keys() | other.values.keys()
        return {key for key in keys if self.values.get(key) != other.values.get(key)}


class Ledger:
    """The ledger of a folder, read once when it is made; :meth:`opened` lets one thread append to it."""

    def __init__(self, folder: Path) -> None:
        """Read what is there; without an intact first line there is no run."""
        self._folder = folder
        entries, self._intact = _read(folder / LEDGER_FILE)
        self.started = RunIdentity(entries[0]) if entries else None
        """The run that was started here, or None."""
        self.finished: dict[str, FinishedRegion] = {}
        for entry in entries[1:]:
            self.finished[entry["key"]] = FinishedRegion(**entry | {"pixels": tuple(entry["pixels"])})

    @contextmanager
    def opened(self, identity: RunIdentity) -> Iterator[Self]:
        """Continue the run that was started here, or start one.

        Raises:
            OutputError: the ledger belongs to another run; the first difference is named.
        """
        if self.started is not None and (difference := self.started.difference(identity)) is not None:
            raise OutputError(f"{self._folder}: {difference}")
        with (self._folder / LEDGER_FILE).open("ab") as self._file:
            self._file.truncate(self._intact)
            if self.started is None:
                self._append(identity.values)
                sync_folder(self._folder)
            yield self

    def add(self, region: FinishedRegion) -> None:
        """Record a region whose shards are written; on return the line is on disk."""
        self._append(asdict(region))
        self.finished[region.key] = region

    def _append(self, entry: dict[str, Any]) -> None:
        body = json.dumps(entry, separators=(",", ":")).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
        self._file.flush()
        os.fsync(self._file.fileno())


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the intact entries from the start, and the bytes that they take."""
    if not path.exists():
        return [], 0
    entries, intact = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        checksum, _, body = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
            break
        entries.append(json.loads(body))
        intact += len(line)
    return entries, intact


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots, so that a difference can be named."""
    out: dict[str, Any] = {}
    for key, value in record.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
