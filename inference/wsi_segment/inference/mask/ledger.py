"""The record of a growing output: which regions are finished, and of which run they are.

``ledger.jsonl`` has a line for the run and a line a finished region, each ``crc32 json``, synced before
the region counts as finished. A line that was cut off, or follows one that was, is as if it were not there.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from wsi_segment.errors import OutputError
from wsi_segment.files import sync_folder

LEDGER_FILE = "ledger.jsonl"
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


class Ledger:
    """An open ledger, to be used as a context; one thread appends."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Begin a ledger, or take up the one that is there.

        Args:
            folder: The partial output.
            run: What makes the run what it is: fingerprints, parameters, versions. JSON.

        Raises:
            OutputError: the ledger there belongs to another run; the first difference is named.
        """
        path = folder / LEDGER_FILE
        entries, intact = _read(path)
        if (other := _compare(entries, run)) is not None and other.begun:
            raise OutputError(f"{folder}: {other.text}")
        self.finished: dict[str, FinishedRegion] = {}
        for entry in entries[1:]:
            self.finished[entry["key"]] = FinishedRegion(**entry | {"pixels": tuple(entry["pixels"])})
        self._file = path.open("ab")
        self._file.truncate(intact)
        if not entries:
            self._append(run)
            sync_folder(folder)

    def add(self, region: FinishedRegion) -> None:
        """Record a region whose shards are written; on return the line is on disk."""
        self._append(asdict(region))
        self.finished[region.key] = region

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _append(self, entry: dict[str, Any]) -> None:
        body = json.dumps(entry, separators=(",", ":")).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(body), body))
        self._file.flush()
        os.fsync(self._file.fileno())


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The intact entries from the start, and the bytes that they take."""
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


@dataclass(frozen=True, slots=True)
class Difference:
    """How the run that was begun in a folder differs from another."""

    begun: bool
    """False where none was begun: no ledger, or one whose first line was cut off."""
    text: str


def begun_run(folder: Path) -> dict[str, Any] | None:
    """What makes the run that was begun in a folder what it is; None where none was."""
    entries, _ = _read(folder / LEDGER_FILE)
    return entries[0] if entries else None


def difference(folder: Path, run: dict[str, Any]) -> Difference | None:
    """How the run that was begun in a folder differs from this one; None where it is the same."""
    return _compare(_read(folder / LEDGER_FILE)[0], run)


def _compare(entries: list[dict[str, Any]], run: dict[str, Any]) -> Difference | None:
    if not entries:
        return Difference(False, "holds no run")
    before = entries[0]
    for key in sorted(differing_keys(before, run), key=lambda key: (key != _OWN_VERSION, key)):
        text = f"was begun with {key} = {_short(before.get(key))}, this run has {_short(run.get(key))}"
        return Difference(True, text)
    return None


def differing_keys(before: dict[str, Any], run: dict[str, Any]) -> set[str]:
    """In what a run that was begun differs from another."""
    now = json.loads(json.dumps(run))
    return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
