"""Whether a finished mask is whole: its metadata, every region's pixels, and every coarser level."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaozarrs
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.mask import no_mask
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.pyramid import mean_of_2x2, mode_of_2x2
from wsi_segment.inference.mask.pyramid_writer import PyramidWriter, Reduce
from wsi_segment.inference.mask.store import digest_of, is_metadata, metadata_digests, record_digest
from wsi_segment.inference.places.bucket_client import is_of_store
from wsi_segment.inference.places.bucket_folder import reaching, refuse_unreachable
from wsi_segment.inference.places.folder import LocalFolder
from wsi_segment.inference.places.sites import folder_of
from wsi_segment.inference.places.zarr_settings import shipped_settings
from wsi_segment.inference.places.zarr_stores import zarr_store
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.location import slide_location

_SIDE = 2048
"""Coarser levels are compared in squares of this many pixels."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    >>> from wsi_segment.inference import verify
    >>> found = verify("mask.zarr")
    >>> found.regions, found.levels
    (1, 2)
    """

    store: Path
    """The mask that was checked."""
    regions: int
    """How many regions its record names."""
    levels: int
    """How many levels its class map has."""
    damage: tuple[str, ...]
    """One line per damage; empty for an intact store."""


@shipped_settings()
def verify(path: str | Path, step: Step = no_step) -> Verification:
    """Check a store against what was noted when it was made, and against the rules of NGFF.

    >>> verify("mask.zarr").damage
    ()

    Args:
        path: The store.
        step: Called with (regions checked, regions in all).

    Raises:
        OutputError: there is no mask of this project there.
        RunError: its bucket could not be reached.

    Memory bound:
        One region, and a few squares of a level.
    """
    path = slide_location(path)
    refuse_unreachable(path)
    store = zarr_store(path)
    try:
        root = zarr.open_group(store, mode="r")
        noted: Any = root[f"{ngff.LABEL_PATH}/0"].attrs[ATTRIBUTE]
        regions, region_size, metadata = noted["regions"], int(noted["region_size"]), dict(noted["metadata"])
    except (FileNotFoundError, KeyError, ValueError, TypeError, json.JSONDecodeError) as error:
        raise no_mask(path, error) from error
    with reaching(path):
        damage = [*_metadata_damage(path, metadata), *_record_damage(root, noted)]
        version_05 = root.metadata.zarr_format == 3
        for group in [ngff.LABEL_PATH] if version_05 else [ngff.LABEL_PATH, ""]:
            if (writer := _opened(store, group, region_size, mode_of_2x2)) is not None:
                damage += _region_damage(writer, regions, path, step)
                damage += _level_damage(writer, mode_of_2x2, path)
        planes = "" if version_05 else ngff.PROBABILITIES_04
        kept = any("probabilities_sha256" in region for region in regions.values())
        if kept and (writer := _opened(store, planes, region_size, mean_of_2x2)) is not None:
            damage += _probability_damage(writer, regions, path)
            damage += _level_damage(writer, mean_of_2x2, path)
    levels = {name.split("/")[2] for name in metadata if name.startswith(ngff.LABEL_PATH) and name.count("/") == 3}
    return Verification(path, len(regions), len(levels), tuple(damage))


def _opened(store: Store, group: str, region_size: int, reduce: Reduce) -> PyramidWriter | None:
    """Open a pyramid; None if damaged metadata, which its digest reports, prevents that."""
    try:
        writer = PyramidWriter.open(zarr.open_group(store, path=group, mode="r"), region_size, reduce)
    except Exception as error:  # zarr raises whatever damage brings up
        if is_of_store(error):
            raise
        return None
    return writer if writer.levels else None


def _metadata_damage(path: Path, noted: dict[str, str]) -> Iterator[str]:
    folder = folder_of(path)
    files = {key: content for key in folder.find() if is_metadata(key) and (content := folder.get(key)) is not None}
    with TemporaryDirectory(prefix="wsi-segment-") as near:  # the validator reads files of this machine
        LocalFolder(Path(near), scratch=True).put(files)
        for group in ("", ngff.LABEL_PATH):
            try:
                yaozarrs.validate_zarr_store(str(Path(near) / group))
            except Exception as error:  # the validator raises whatever damage brings up
                reason = " ".join(str(error).replace(near, str(path)).split())
                yield f"{path / group}: metadata is not valid OME-Zarr: {reason[:200]}"
    found = metadata_digests(files)
    for name in sorted(noted.keys() | found.keys()):
        if found.get(name) != noted.get(name):
            kind = "is missing" if name not in found else "differs from what was written"
            yield f"{name}: {kind if name in noted else 'was not written by the run'}"


def _record_damage(root: zarr.Group, noted: dict[str, Any]) -> Iterator[str]:
    """Whether the record is as it was written, and names all regions."""
    if record_digest(noted) != noted.get("sha256"):
        yield f"{ngff.LABEL_PATH}/0: the record of regions differs from what was written"
    level_0, size, regions = root[f"{ngff.LABEL_PATH}/0"], int(noted["region_size"]), noted["regions"]
    assert isinstance(level_0, zarr.Array)
    height, width = level_0.shape
    expected = {f"{row},{column}" for row in range(ceil_div(height, size)) for column in range(ceil_div(width, size))}
    if regions.keys() != expected:
        missing = sorted(expected - regions.keys()) or sorted(regions.keys() - expected)
        yield f"{ngff.LABEL_PATH}/0: the record of regions does not fit the mask: {missing[0]}"


def _region_damage(writer: PyramidWriter, regions: dict[str, Any], path: Path, step: Step) -> Iterator[str]:
    size = writer.region_size
    for done, (key, noted) in enumerate(regions.items(), start=1):
        y, x = _corner(key, size)
        place = f"{_name(writer, path)}/0: region {key} (rows {y}…, columns {x}…)"
        ids = _read(writer, 0, y, x, side=size)
        if ids is None:
            yield f"{place} cannot be decoded"
        elif digest_of([ids]) != noted["sha256"]:
            found = np.bincount(ids.ravel(), minlength=len(noted["pixels"]))
            yield f"{place} differs from what was written: {found.tolist()} pixels per class, not {noted['pixels']}"
        step(done, len(regions))


def _probability_damage(writer: PyramidWriter, regions: dict[str, Any], path: Path) -> Iterator[str]:
    """Regions without a digest were never predicted: all of theirs is 0."""
    size, channels = writer.region_size, writer.levels[0].shape[0]
    for key, noted in regions.items():
        y, x = _corner(key, size)
        planes = [_read(writer, 0, y, x, side=size, channel=channel) for channel in range(channels)]
        expected = noted.get("probabilities_sha256")
        found = [plane for plane in planes if plane is not None]
        same = digest_of(found) == expected if expected else not any(plane.any() for plane in found)
        if len(found) < channels or not same:
            yield f"{_name(writer, path)}/0: probabilities of region {key} differ from what was written"


def _corner(key: str, size: int) -> tuple[int, int]:
    """Row and column of a region's first pixel."""
    row, column = (int(part) for part in key.split(","))
    return row * size, column * size


def _level_damage(writer: PyramidWriter, reduce: Reduce, path: Path) -> Iterator[str]:
    for index in range(1, len(writer.levels)):
        *leading, height, width = writer.levels[index].shape
        for channel in range(leading[0]) if leading else (None,):
            for y in range(0, height, _SIDE):
                for x in range(0, width, _SIDE):
                    found = _read(writer, index, y, x, side=_SIDE, channel=channel)
                    finer = _read(writer, index - 1, 2 * y, 2 * x, side=2 * _SIDE, channel=channel)
                    if found is None or finer is None or not np.array_equal(found, reduce(finer)):
                        place = f"{_name(writer, path)}/{index}: rows {y}…, columns {x}…"
                        yield f"{place} do not follow from the level before"


def _read(
    writer: PyramidWriter, level: int, y: int, x: int, *, side: int, channel: int | None = None
) -> NDArray[np.uint8] | None:
    try:
        return writer.read(level, y, x, side, channel=channel)
    except Exception as error:  # zarr raises whatever damage brings up
        if is_of_store(error):
            raise
        return None


def _name(writer: PyramidWriter, path: Path) -> str:
    return writer.path or path.name
