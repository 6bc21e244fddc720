"""A mask as GeoJSON annotations that every version of QuPath imports.

One feature a polygon; coordinates are level-0 pixels as QuPath counts them, from the corner of the slide's
bounds. The same mask gives the same file.
"""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray

from wsi_segment.errors import OutputError
from wsi_segment.inference.mask import ngff
from wsi_segment.inference.mask.ngff import ATTRIBUTE
from wsi_segment.inference.mask.polygons import class_polygons, split_large

COARSEST_MPP = 4.0
"""Outlines are taken from the coarsest level of at most this many µm per pixel."""

_NAMESPACE = uuid.UUID("6d0cbf3c-5d7e-5c1e-9a0b-0d1f6f0a7b11")
_DECIMALS = 2


@dataclass(frozen=True, slots=True)
class MaskMap:
    """The class map of a finished store at one level, and how its pixels lie on the slide."""

    array: zarr.Array[Any]
    names: tuple[str, ...]
    """By class id; 0 is "not analysed"."""
    colors: tuple[tuple[int, int, int], ...]
    fingerprint: str
    downsample: float
    """Level-0 pixels per pixel of this level."""
    x0: float
    y0: float
    """Level-0 place of the first pixel's corner, from the corner of the slide's bounds."""
    mpp_x: float
    mpp_y: float
    """µm per level-0 pixel."""

    @classmethod
    def open(cls, store: Path, coarsest_mpp: float = COARSEST_MPP) -> MaskMap:
        """The coarsest level of a store that is fine enough; the finest where none is.

        Raises:
            OutputError: no finished mask is there.
        """
        try:
            root = zarr.open_group(store, mode="r")
            provenance: Any = root.attrs[ATTRIBUTE]
            label: Any = root[ngff.LABEL_PATH].attrs.asdict()
        except (FileNotFoundError, KeyError) as error:
            raise OutputError(f"{store}: not a mask that wsi-segment made") from error
        label = label.get("ome", label)
        slide, mask = provenance["slide"], provenance["mask"]
        level = 0
        finest = mask["downsample"] * slide["mpp_x"]
        while finest * 2 ** (level + 1) <= coarsest_mpp and f"{ngff.LABEL_PATH}/{level + 1}" in root:
            level += 1
        array = root[f"{ngff.LABEL_PATH}/{level}"]
        assert isinstance(array, zarr.Array)
        return cls(
            array=array,
            names=tuple(entry["name"] for entry in label["image-label"]["properties"]),
            colors=tuple(tuple(entry["rgba"][:3]) for entry in label["image-label"]["colors"]),
            fingerprint=slide["fingerprint"],
            downsample=mask["downsample"] * 2**level,
            x0=mask["origin"][0] - slide["bounds"][0],
            y0=mask["origin"][1] - slide["bounds"][1],
            mpp_x=slide["mpp_x"],
            mpp_y=slide["mpp_y"],
        )

    def read(self, y: int, x: int, side: int) -> NDArray[np.uint8]:
        """Class ids of a square."""
        return np.asarray(self.array[y : y + side, x : x + side], np.uint8)


Step = Callable[[int, int], None]
"""Called with (rows outlined, rows in all) as they are read; may raise to stop."""


def features(
    mask: MaskMap, min_area_um2: float, simplify_um: float, step: Step = lambda done, total: None
) -> Iterator[dict[str, Any]]:
    """The features of a mask, one after another.

    Args:
        mask: A finished mask at one level.
        min_area_um2: Smaller polygons are left out, µm².
        simplify_um: Corners of triangles up to this side may go, µm; 0 keeps every corner.
        step: See :data:`Step`.

    Memory bound:
        That of :func:`wsi_segment.inference.mask.polygons.class_polygons`.
    """
    um2 = mask.mpp_x * mask.mpp_y * mask.downsample**2
    height, width = mask.array.shape
    tolerance = simplify_um / (mask.mpp_x * mask.downsample)

    def read(y: int, x: int, side: int) -> NDArray[np.uint8]:
        step(y, height)
        return mask.read(y, x, side)

    for piece in class_polygons(read, height, width, tolerance):
        if piece.polygon.area * um2 < min_area_um2:
            continue
        for part in split_large(piece.polygon):
            placed = _placed(part, mask)
            yield _feature(placed, piece.class_id, part.area * um2, mask)


def write_geojson(
    path: str | Path,
    store: str | Path,
    min_area_um2: float = 0.0,
    simplify_um: float | None = None,
    step: Step = lambda done, total: None,
) -> int:
    """Write the annotations of a finished mask; gzip where the name ends in ``.gz``.

    >>> write_geojson("outlines.geojson", "mask.zarr", min_area_um2=5000) > 0
    True

    Args:
        path: The file; it appears when it is complete.
        store: The mask.
        min_area_um2: Smaller polygons are left out, µm².
        simplify_um: See :func:`features`; None for one pixel of the level that is outlined.
        step: See :data:`Step`.

    Returns:
        The number of features.
    """
    path = Path(path)
    mask = MaskMap.open(Path(store))
    if simplify_um is None:
        simplify_um = mask.mpp_x * mask.downsample
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    count = 0
    with beside.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file:
            file.write('{"type": "FeatureCollection", "features": [')
            for feature in features(mask, min_area_um2, simplify_um, step):
                file.write(",\n" if count else "\n")
                json.dump(feature, file, allow_nan=False, separators=(",", ":"))
                count += 1
            file.write("\n]}\n")
    beside.replace(path)
    return count


def _placed(polygon: shapely.Polygon, mask: MaskMap) -> shapely.Polygon:
    scaled = shapely.transform(
        polygon, lambda points: np.round(points * mask.downsample + (mask.x0, mask.y0), _DECIMALS)
    )
    assert isinstance(scaled, shapely.Polygon)
    return scaled


def _feature(polygon: shapely.Polygon, class_id: int, area_um2: float, mask: MaskMap) -> dict[str, Any]:
    name = mask.names[class_id].replace(":", " -")  # a colon would make a derived class in QuPath
    identity = f"{mask.fingerprint}/{class_id}/{polygon.wkb_hex}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": {
            "type": "Polygon",
            "coordinates": [[list(point) for point in ring.coords] for ring in (polygon.exterior, *polygon.interiors)],
        },
        "properties": {
            "objectType": "annotation",
            "name": name,
            "isLocked": True,
            "classification": {"name": name, "color": list(mask.colors[class_id])},
            "measurements": {"Area um^2": round(area_um2, 2)},
        },
    }
