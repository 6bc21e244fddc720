"""The record of a growing output: which regions are finished, and of which run they are.

Whoever computes a region records it, before it counts as finished; the run keeps the list.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wsi_segment.errors import OutputError
from wsi_segment.inference.places.ledger_records import Records, run_name

_NO_SHARDS: Mapping[str, bytes] = {}
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
    """sha256 of the class ids at full size, row by row."""
    probabilities_sha256: str | None = None
    """sha256 of the probabilities at full size, class by class, if they are kept and the region was predicted."""
    coarsest: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The region's shards by key, as they are stored, on the level from which coarser ones are made; empty where
    reading them again costs nothing."""

    @property
    def place(self) -> tuple[int, int]:
        """Row and column."""
        return _place(self.key)

    @property
    def record(self) -> bytes:
        """The region as a line of JSON."""
        entry = {"key": self.key, "pixels": self.pixels, "windows": self.windows, "sha256": self.sha256}
        entry["probabilities_sha256"] = self.probabilities_sha256
        if self.coarsest:
            entry["coarsest"] = {key: b64encode(shard).decode() for key, shard in self.coarsest.items()}
        return json.dumps(entry, separators=(",", ":")).encode()

    @classmethod
    def of_record(cls, record: bytes) -> FinishedRegion:
        """Return the region that a record tells of."""
        entry = json.loads(record)
        coarsest = {key: b64decode(shard) for key, shard in entry.pop("coarsest", {}).items()}
        return cls(**entry | {"pixels": tuple(entry["pixels"]), "coarsest": coarsest})


class FinishedRegions(Mapping[str, FinishedRegion]):
    """Finished regions by key, row by row.

    Memory bound:
        8 bytes for each place of a row up to its last region, and the regions themselves; those without windows, of
        which there may be 100,000, share a few objects, as most differ in nothing but where they are.
    """

    def __init__(self) -> None:
        """Hold none yet."""
        self._rows: defaultdict[int, list[FinishedRegion | None]] = defaultdict(list)
        self._alike: dict[tuple[object, ...], FinishedRegion] = {}
        self._count = 0

    def add(self, region: FinishedRegion) -> None:
        """Add a region."""
        number, column = region.place
        row = self._rows[number]
        row.extend([None] * (column + 1 - len(row)))
        self._count += row[column] is None
        held = region.pixels, region.sha256, region.probabilities_sha256
        row[column] = region if region.windows else self._alike.setdefault(held, region)

    def __getitem__(self, key: str) -> FinishedRegion:
        number, column = _place(key)
        row = self._rows.get(number, [])
        found = row[column] if column < len(row) else None
        if found is None:
            raise KeyError(key)
        return replace(found, key=key)

    def __iter__(self) -> Iterator[str]:
        for number, row in sorted(self._rows.items()):
            yield from (f"{number},{column}" for column, region in enumerate(row) if region is not None)

    def __len__(self) -> int:
        return self._count


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
    def record(self) -> bytes:
        """The identity as a line of JSON."""
        return json.dumps(self.values, separators=(",", ":")).encode()

    @property
    def run_id(self) -> str:
        """A short name of the run: 16 hexadecimal digits."""
        return run_name(self.record)

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
    """The regions of a run that are finished, counted as they are read or taken."""

    def __init__(self, records: Records) -> None:
        """Read whether a run was started; without an intact record of that there is none."""
        self.records = records
        started = records.started()
        self.started = None if started is None else RunIdentity(json.loads(started))
        """The run that was started here, or None."""
        self.finished = FinishedRegions()
        """Without their coarsest shards."""

    def begin(self, identity: RunIdentity) -> None:
        """Continue the run that was started here, or start one.

        Raises:
            OutputError: the ledger belongs to another run; the first difference is named.
        """
        if self.started is None:
            self.records.start(identity.record)
            self.started = identity
        elif (difference := self.started.difference(identity)) is not None:
            raise OutputError(f"the ledger {difference}")

    def read(self, rows: int, columns: int) -> Iterator[FinishedRegion]:
        """Yield the regions that were recorded and are not counted yet, and count them; coarsest shards are given.

        A record that is of no such region, however it came there, is as if it were not there.

        Args:
            rows: Of regions, in the mask.
            columns: Of regions, in the mask.
        """
        for record in self.records.finished():
            try:
                region = FinishedRegion.of_record(record)
                row, column = region.place
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
            if not (0 <= row < rows and 0 <= column < columns and region.key == f"{row},{column}"):
                continue
            if region.key not in self.finished:
                self.take(region)
                yield region

    def take(self, region: FinishedRegion) -> None:
        """Count a region that whoever computed it has recorded."""
        self.finished.add(replace(region, coarsest=_NO_SHARDS))


def pack_regions(regions: Iterable[FinishedRegion]) -> bytes:
    """Return regions as few bytes, without holding all their records at once; there may be 100,000."""
    compressor = zlib.compressobj(1)
    parts = [compressor.compress(region.record + b"\n") for region in regions]
    return b"".join([*parts, compressor.flush()])


def unpack_regions(packed: bytes) -> list[FinishedRegion]:
    """Return what :func:`pack_regions` was given."""
    return [FinishedRegion.of_record(line) for line in zlib.decompress(packed).splitlines()]


def _place(key: str) -> tuple[int, int]:
    row, column = key.split(",")
    return int(row), int(column)


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots, so that a difference can be named."""
    out: dict[str, Any] = {}
    for key, value in record.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
