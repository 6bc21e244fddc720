"""The store of a mask: an OME-Zarr label image whose shards are the regions, and probabilities if wanted.

The project's own attributes hold provenance in the root; those of the label's level 0 say what every region and every
file of metadata hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, MemoryStore

from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.pyramid import level_shapes, mean_of_2x2, mode_of_2x2
from wsi_segment.inference.mask.pyramid_writer import PyramidWriter, Shards
from wsi_segment.inference.places.bucket_shards import ShardFolder
from wsi_segment.inference.places.folder import Folder, LocalFolder, PackedFiles
from wsi_segment.inference.places.zarr_settings import shipped_settings

OME_XML = "METADATA.ome.xml"
_METADATA_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", OME_XML)
_RECORD_IN = f"{ngff.LABEL_PATH}/0"


@dataclass(frozen=True, slots=True)
class MaskLayout:
    """What a store is made of before its first pixel."""

    metadata: ngff.MaskMetadata
    region_size: int
    """Side of the regions in mask pixels."""
    provenance: dict[str, Any]
    """What is known of it already, as JSON; it goes into the root."""


class MaskStore:
    """A store that is being written; regions may come from several threads, processes and machines.

    It pickles as its folder's name and its layout. Shards are put as they come; metadata is kept in memory until
    :meth:`finish` hands it over, so that nothing can be taken for a mask before it is one.
    """

    @shipped_settings()
    def __init__(self, folder: Folder, layout: MaskLayout) -> None:
        """Look at nothing yet; the folder need not be there."""
        self._folder, self._layout = folder, layout
        self._metadata: dict[str, Buffer] = {}
        self._root = _create(self._metadata, layout)
        version_05 = layout.metadata.version == "0.5"
        size = layout.region_size
        paths = [ngff.LABEL_PATH] if version_05 else [ngff.LABEL_PATH, ""]
        self._class_maps = [PyramidWriter.open(self._group(path), size, mode_of_2x2) for path in paths]
        self._probabilities: PyramidWriter | None = None
        if layout.metadata.probabilities:
            planes = self._group("" if version_05 else ngff.PROBABILITIES_04)
            self._probabilities = PyramidWriter.open(planes, size, mean_of_2x2)
        self._beside: TemporaryDirectory[str] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Hold no more than names and the layout."""
        return type(self), (self._folder, self._layout)

    @property
    def metadata(self) -> Mapping[str, bytes]:
        """Return the store's metadata by key, the root's last; before :meth:`finish` without the record of regions."""
        by_depth = sorted(self._metadata.items(), key=lambda item: (-item[0].count("/"), item[0]))
        return {key: content.to_bytes() for key, content in by_depth}

    @property
    def on_disk(self) -> bool:
        """Whether it is in a folder, not in a bucket."""
        return self._folder.near

    def held_as(self, is_held: Callable[[], bool]) -> MaskStore:
        """Return the same store, which asks a function whether its run holds the output where it would ask a bucket."""
        if not isinstance(self._folder, ShardFolder):
            return self
        return MaskStore(replace(self._folder, is_held=is_held), self._layout)

    @property
    def keeps_probabilities(self) -> bool:
        """Whether probabilities are wanted."""
        return self._probabilities is not None

    def write(self, region: Region, ids: NDArray[np.uint8]) -> Shards:
        """Write a region's class ids (height, width).

        Returns:
            Its shards on the level from which coarser ones are made, where they are not read back from the store.
        """
        coarsest: Shards = {}
        for pyramid in self._class_maps:
            coarsest |= self._write(pyramid, region, ids)
        return coarsest

    def write_probabilities(self, region: Region, planes: Iterable[NDArray[np.uint8]]) -> tuple[str, Shards]:
        """Write a region's probabilities * 255, one plane (height, width) per class, in card order.

        Returns:
            Their digest, and shards as from :meth:`write`.
        """
        pyramid, coarsest = self._probabilities, Shards()
        assert pyramid is not None

        def written() -> Iterator[NDArray[np.uint8]]:
            for channel, plane in enumerate(planes):
                coarsest.update(self._write(pyramid, region, plane, channel))
                yield plane

        return digest_of(written()), coarsest

    def keep(self, region: FinishedRegion) -> None:
        """Keep a region's coarsest shards, on this machine's disk, for :meth:`finish`."""
        if region.coarsest:
            self._near.put(region.coarsest)

    def with_coarsest(self, regions: Iterable[FinishedRegion]) -> Iterator[FinishedRegion]:
        """Yield regions, the first of which has all coarsest shards that were kept, so that they can travel."""
        kept: Shards = {}
        if self._beside is not None:
            kept = {key: content for key in self._near.find() if (content := self._near.get(key)) is not None}
        for region in regions:
            yield replace(region, coarsest=kept)
            kept = {}

    @shipped_settings()
    def finish(
        self, regions: Iterable[FinishedRegion], provenance: dict[str, Any], step: Callable[[int, int], None]
    ) -> Mapping[str, bytes]:
        """Make the coarse levels, and note what every region holds, so that damage can be found.

        Args:
            regions: All of them, in any order; where reading back is not for free, after :meth:`keep` for each.
            provenance: The whole of it, as JSON.
            step: Called with (blocks done, 0) after each; may raise to stop.

        Returns:
            The store's metadata by key, the root's last; without it the store is none. What was noted of 100,000
            regions are 30 MiB of text, and a hundredth as it is kept.
        """
        writers = [*self._class_maps, *([self._probabilities] if self._probabilities else [])]
        done, near = 0, LocalStore(self._near.path)
        for writer in writers:
            for _ in writer.read_from(near).finishing_steps(self._put_coarse):
                done += 1
                step(done, 0)
        self._root.update_attributes({ATTRIBUTE: provenance})
        noted: dict[str, Any] = {
            region.key: {"pixels": list(region.pixels), "sha256": region.sha256}
            | ({"probabilities_sha256": region.probabilities_sha256} if region.probabilities_sha256 else {})
            for region in sorted(regions, key=lambda region: region.place)
        }
        record: dict[str, Any] = {
            "region_size": self._layout.region_size,
            "regions": noted,
            "metadata": metadata_digests({key: content.to_bytes() for key, content in self._metadata.items()}),
        }
        finest = self._class_maps[0].levels[0]
        finest.update_attributes({ATTRIBUTE: record | {"sha256": record_digest(record)}})
        return PackedFiles(self.metadata)

    def close(self) -> None:
        """Remove what was kept on this machine's disk."""
        if self._beside is not None:
            self._beside.cleanup()
            self._beside = None

    @property
    def _near(self) -> LocalFolder:
        """Where coarse levels are made from: the store itself, or shards beside it."""
        if isinstance(self._folder, LocalFolder):
            return self._folder
        if self._beside is None:
            self._beside = TemporaryDirectory(prefix="wsi-segment-")
        return LocalFolder(Path(self._beside.name), scratch=True)

    def _group(self, path: str) -> zarr.Group:
        group = self._root[path] if path else self._root
        assert isinstance(group, zarr.Group)
        return group

    def _write(
        self, pyramid: PyramidWriter, region: Region, plane: NDArray[np.uint8], channel: int | None = None
    ) -> Shards:
        shards, level = Shards(), Shards()
        for level in pyramid.shards_of(region, plane, channel):
            shards |= level
        self._folder.put(shards)
        return {} if self._folder.near or pyramid.is_finished_by_regions else level

    def _put_coarse(self, shards: Mapping[str, bytes]) -> None:
        self._folder.put(shards)
        if not self._folder.near:
            self._near.put(shards)


def _create(files: dict[str, Buffer], layout: MaskLayout) -> zarr.Group:
    """Make an empty store with all its metadata in memory."""
    metadata, region_size = layout.metadata, layout.region_size
    version = metadata.version
    shapes = level_shapes(metadata.frame.height, metadata.frame.width)
    zarr_format: Any = 3 if version == "0.5" else 2
    attributes = metadata.root | {ATTRIBUTE: layout.provenance}
    root = zarr.create_group(MemoryStore(files), zarr_format=zarr_format, attributes=attributes)
    root.create_group("labels", attributes=metadata.labels)
    label = root.create_group(ngff.LABEL_PATH, attributes=metadata.label)
    how: Any = {"version": version, "region_size": region_size}
    PyramidWriter.create(label, shapes, channels=None, compression_level=1, **how)
    planes = root
    if version == "0.4":
        PyramidWriter.create(root, shapes, channels=None, compression_level=1, **how)
        files[f"OME/{OME_XML}"] = zarr.core.buffer.cpu.Buffer.from_bytes(metadata.ome_xml().encode())
        if metadata.probabilities:
            planes = root.create_group(ngff.PROBABILITIES_04, attributes=metadata.probability_group)
    if metadata.probabilities:
        channels = len(metadata.classes)
        PyramidWriter.create(planes, shapes, channels=channels, compression_level=3, **how)
    return root


def record_digest(record: dict[str, Any]) -> str:
    """sha256 of the record of regions and metadata, but for that sum itself."""
    counted = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def is_metadata(key: str) -> bool:
    """Return whether a file of a store holds metadata, and not pixels."""
    return key.rpartition("/")[2] in _METADATA_FILES


def metadata_digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """sha256 of each file of metadata by its key in the store; the record of regions itself does not count."""
    digests = {}
    for key, content in sorted(files.items(), key=lambda item: item[0].split("/")):
        if not is_metadata(key) or key == f"{_RECORD_IN}/.zattrs":
            continue
        if key == f"{_RECORD_IN}/zarr.json":
            array = json.loads(content)
            array["attributes"].pop(ATTRIBUTE, None)
            content = json.dumps(array, sort_keys=True).encode()
        digests[key] = hashlib.sha256(content).hexdigest()
    return digests


def digest_of(planes: Iterable[NDArray[np.uint8]]) -> str:
    """sha256 of planes (height, width) of uint8, one after the other, row by row."""
    digest = hashlib.sha256()
    for plane in planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
