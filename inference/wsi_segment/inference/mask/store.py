"""The mask on disk: an OME-Zarr label image whose shards are the regions, and probabilities if wanted.

The project's own attributes hold provenance in the root; those of the label's level 0 say what every region and every
file of metadata hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.pyramid import level_shapes, mean_of_2x2, mode_of_2x2
from wsi_segment.inference.mask.pyramid_writer import PyramidWriter
from wsi_segment.inference.mask.zarr_settings import shipped_settings

OME_XML = "METADATA.ome.xml"
_METADATA_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", OME_XML)
_RECORD_IN = f"{ngff.LABEL_PATH}/0"


class MaskStore:
    """A store that is being written; regions may come from several threads."""

    @shipped_settings()
    def __init__(self, path: Path, region_size: int) -> None:
        """Open a store that :meth:`create` made."""
        self._path = path
        root = zarr.open_group(path, mode="r")
        version_05 = root.metadata.zarr_format == 3
        folders = [path / ngff.LABEL_PATH] if version_05 else [path / ngff.LABEL_PATH, path]
        self._class_maps = [PyramidWriter.open(folder, region_size, mode_of_2x2) for folder in folders]
        planes = path if version_05 else path / ngff.PROBABILITIES_04
        self._probabilities: PyramidWriter | None = None
        if (planes / "0").exists():
            self._probabilities = PyramidWriter.open(planes, region_size, mean_of_2x2)

    @staticmethod
    @shipped_settings()
    def create(path: Path, metadata: ngff.MaskMetadata, region_size: int, provenance: dict[str, Any]) -> None:
        """Make an empty store with all its metadata."""
        version = metadata.version
        shapes = level_shapes(metadata.frame.height, metadata.frame.width)
        zarr_format: Any = 3 if version == "0.5" else 2
        root = zarr.create_group(path, zarr_format=zarr_format, attributes=metadata.root | {ATTRIBUTE: provenance})
        root.create_group("labels", attributes=metadata.labels)
        root.create_group(ngff.LABEL_PATH, attributes=metadata.label)
        how: Any = {"version": version, "region_size": region_size}
        PyramidWriter.create(path / ngff.LABEL_PATH, shapes, channels=None, compression_level=1, **how)
        planes = path
        if version == "0.4":
            PyramidWriter.create(path, shapes, channels=None, compression_level=1, **how)
            (path / "OME").mkdir()
            (path / "OME" / OME_XML).write_text(metadata.ome_xml(), encoding="utf-8")
            planes = path / ngff.PROBABILITIES_04
            if metadata.probabilities:
                root.create_group(ngff.PROBABILITIES_04, attributes=metadata.probability_group)
        if metadata.probabilities:
            channels = len(metadata.classes)
            PyramidWriter.create(planes, shapes, channels=channels, compression_level=3, **how)

    @property
    def keeps_probabilities(self) -> bool:
        """Whether probabilities are wanted."""
        return self._probabilities is not None

    def write(self, region: Region, ids: NDArray[np.uint8]) -> None:
        """Write a region's class ids (height, width)."""
        for pyramid in self._class_maps:
            pyramid.write(region, ids)

    def write_probabilities(self, region: Region, planes: Iterable[NDArray[np.uint8]]) -> str:
        """Write a region's probabilities * 255, a plane (height, width) a class, in card order; their digest."""
        pyramid = self._probabilities
        assert pyramid is not None

        def written() -> Iterator[NDArray[np.uint8]]:
            for channel, plane in enumerate(planes):
                pyramid.write(region, plane, channel)
                yield plane

        return digest_of(written())

    @shipped_settings()
    def finish(self, regions: Iterable[FinishedRegion], step: Callable[[int, int], None]) -> None:
        """Make the coarse levels, and note what every region holds, so that damage can be found.

        Args:
            regions: All of them, in any order.
            step: Called with (blocks done, 0) after each; may raise to stop.
        """
        writers = [*self._class_maps, *([self._probabilities] if self._probabilities else [])]
        done = 0
        for writer in writers:
            for _ in writer.finishing_steps():
                done += 1
                step(done, 0)
        noted: dict[str, Any] = {
            region.key: {"pixels": list(region.pixels), "sha256": region.sha256}
            | ({"probabilities_sha256": region.probabilities_sha256} if region.probabilities_sha256 else {})
            for region in sorted(regions, key=lambda region: [int(part) for part in region.key.split(",")])
        }
        finest = self._class_maps[0]
        record: dict[str, Any] = {
            "region_size": finest.region_size,
            "regions": noted,
            "metadata": metadata_digests(self._path),
        }
        finest.levels[0].update_attributes({ATTRIBUTE: record | {"sha256": record_digest(record)}})


def record_digest(record: dict[str, Any]) -> str:
    """sha256 of the record of regions and metadata, but for that sum itself."""
    counted = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def metadata_digests(store: Path) -> dict[str, str]:
    """sha256 of each file of metadata by its name in the store; the record of regions itself does not count."""
    digests = {}
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store).as_posix()
        if path.name not in _METADATA_FILES or name == f"{_RECORD_IN}/.zattrs":
            continue
        content = path.read_bytes()
        if name == f"{_RECORD_IN}/zarr.json":
            array = json.loads(content)
            array["attributes"].pop(ATTRIBUTE, None)
            content = json.dumps(array, sort_keys=True).encode()
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def digest_of(planes: Iterable[NDArray[np.uint8]]) -> str:
    """sha256 of planes (height, width) of uint8, one after the other, row by row."""
    digest = hashlib.sha256()
    for plane in planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
