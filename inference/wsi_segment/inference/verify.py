"""Whether a finished mask is whole: its metadata, every region's pixels, and every coarser level."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaozarrs
import zarr
from numpy.typing import NDArray

from wsi_segment.inference import ngff
from wsi_segment.inference.output import ATTRIBUTE
from wsi_segment.inference.pyramid import mean_of_2x2, mode_of_2x2
from wsi_segment.inference.pyramid_writer import PyramidWriter, Reduce
from wsi_segment.inference.store import digest_of
from wsi_segment.model.errors import OutputError

_SIDE = 2048
"""Coarser levels are compared in squares of this many pixels."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found."""

    store: Path
    regions: int
    levels: int
    damage: tuple[str, ...]
    """A line each; empty for a store that is whole."""


def verify(path: Path, step: Callable[[int, int], None] = lambda done, total: None) -> Verification:
    """Check a store against what was noted when it was made, and against the rules of NGFF.

    Args:
        path: The store.
        step: Called with (regions checked, regions in all).

    Raises:
        OutputError: there is no mask of this project there.

    Memory bound:
        One region, and a few squares of a level.
    """
    try:
        root = zarr.open_group(path, mode="r")
        noted: Any = root[f"{ngff.LABEL_PATH}/0"].attrs[ATTRIBUTE]
        regions, region_size = noted["regions"], int(noted["region_size"])
    except (FileNotFoundError, KeyError, ValueError, TypeError, json.JSONDecodeError) as error:
        raise OutputError(f"{path}: not a mask that wsi-segment made ({type(error).__name__}: {error})") from error
    damage = [*_metadata_damage(path), *_record_damage(path, root, regions, region_size)]
    folders = [path / ngff.LABEL_PATH]
    if root.metadata.zarr_format == 2:
        folders.append(path)
    for folder in folders:
        writer = PyramidWriter.open(folder, region_size, mode_of_2x2)
        damage += _region_damage(writer, regions, path, step)
        damage += _level_damage(writer, mode_of_2x2, path)
    planes = path if root.metadata.zarr_format == 3 else path / ngff.PROBABILITIES_04
    if (planes / "0").exists():
        pyramid = PyramidWriter.open(planes, region_size, mean_of_2x2)
        damage += _probability_damage(pyramid, regions, path)
        damage += _level_damage(pyramid, mean_of_2x2, path)
    return Verification(path, len(regions), len(writer.levels), tuple(damage))


def _metadata_damage(path: Path) -> Iterator[str]:
    for group in (path, path / ngff.LABEL_PATH):
        try:
            yaozarrs.validate_zarr_store(str(group))
        except Exception as error:
            yield f"{group}: metadata is not valid OME-Zarr: {' '.join(str(error).split())[:200]}"


def _record_damage(path: Path, root: zarr.Group, regions: dict[str, Any], size: int) -> Iterator[str]:
    """Whether all regions were noted, and whether OME-XML says what the transforms say."""
    level_0 = root[f"{ngff.LABEL_PATH}/0"]
    assert isinstance(level_0, zarr.Array)
    height, width = level_0.shape
    expected = {f"{row},{column}" for row in range(-(-height // size)) for column in range(-(-width // size))}
    if regions.keys() != expected:
        missing = sorted(expected - regions.keys()) or sorted(regions.keys() - expected)
        yield f"{ngff.LABEL_PATH}/0: the record of regions does not fit the mask: {missing[0]}"
    if root.metadata.zarr_format == 3:
        return
    multiscales: Any = root.attrs["multiscales"]
    scale = multiscales[0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    sizes = {"SizeX": width, "SizeY": height, "PhysicalSizeX": scale[-1], "PhysicalSizeY": scale[-2]}
    try:
        pixels = ElementTree.parse(path / "OME" / "METADATA.ome.xml").find(".//{*}Pixels")
        found = {name: float(pixels.attrib[name]) for name in sizes} if pixels is not None else {}
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        found = {}
        yield f"OME/METADATA.ome.xml: cannot be read ({type(error).__name__})"
    for name, value in found.items():
        if abs(value - sizes[name]) > 1e-6 * sizes[name]:
            yield f"OME/METADATA.ome.xml: {name} is {value:g}, not {sizes[name]:g}"


def _region_damage(
    writer: PyramidWriter, regions: dict[str, Any], path: Path, step: Callable[[int, int], None]
) -> Iterator[str]:
    size = writer.region_size
    for done, (key, noted) in enumerate(regions.items(), start=1):
        y, x = _corner(key, size)
        place = f"{_name(writer, path)}/0: region {key} (rows {y}…, columns {x}…)"
        ids = _read(writer, 0, y, x, size, None)
        if ids is None:
            yield f"{place} cannot be decoded"
        elif digest_of([ids]) != noted["sha256"]:
            found = np.bincount(ids.ravel(), minlength=len(noted["pixels"]))
            yield f"{place} differs from what was written: {found.tolist()} pixels a class, not {noted['pixels']}"
        step(done, len(regions))


def _probability_damage(writer: PyramidWriter, regions: dict[str, Any], path: Path) -> Iterator[str]:
    """Regions without a digest were never predicted: all of theirs is 0."""
    size, channels = writer.region_size, writer.levels[0].shape[0]
    for key, noted in regions.items():
        y, x = _corner(key, size)
        planes = [_read(writer, 0, y, x, size, channel) for channel in range(channels)]
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
                    found = _read(writer, index, y, x, _SIDE, channel)
                    finer = _read(writer, index - 1, 2 * y, 2 * x, 2 * _SIDE, channel)
                    if found is None or finer is None or not np.array_equal(found, reduce(finer)):
                        place = f"{_name(writer, path)}/{index}: rows {y}…, columns {x}…"
                        yield f"{place} do not follow from the level before"


def _read(
    writer: PyramidWriter, level: int, y: int, x: int, side: int, channel: int | None
) -> NDArray[np.uint8] | None:
    try:
        return writer.read(level, y, x, side, channel)
    except Exception:
        return None


def _name(writer: PyramidWriter, path: Path) -> str:
    return writer.folder.relative_to(path).as_posix() if writer.folder != path else path.name
