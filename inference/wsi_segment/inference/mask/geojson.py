"""A mask as GeoJSON annotations that every version of QuPath imports.

One feature per polygon; coordinates are level-0 pixels as QuPath counts them, from the corner of the slide's
bounds. Shells run counterclockwise and holes clockwise (RFC 7946). The same mask gives the same file.
"""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.polygons import oriented
from wsi_segment.inference.places.sites import writing
from wsi_segment.inference.progress import Step, no_step
from wsi_segment.inference.slides.location import slide_location

_NAMESPACE = uuid.UUID("6d0cbf3c-5d7e-5c1e-9a0b-0d1f6f0a7b11")
_DECIMALS = 2


def features(
    mask: Mask, min_area_um2: float = 0.0, simplify_um: float | None = None, step: Step = no_step, level: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the features of a mask, one after another.

    Args:
        mask: A finished mask.
        min_area_um2: Leave out smaller polygons, µm².
        simplify_um: Corners of triangles up to this side may go, µm; 0 keeps every corner. None stands for corners of
            single pixels, and for triangles of up to 2 x 2 pixels where two pieces of at least 3,000 pixels meet.
        step: Called with (rows outlined, rows in all) as they are read.
        level: Index in ``mask.levels``; the finest has the areas of the summary, coarser ones lose small pieces.

    Memory bound:
        That of :func:`wsi_segment.inference.mask.polygons.class_polygons`.
    """
    downsample = mask.levels[level].downsample
    corner = mask.origin[0] - mask.bounds.x0, mask.origin[1] - mask.bounds.y0
    for class_id, polygon, area_um2 in mask.pieces(level, min_area_um2, simplify_um, step):
        yield _feature(_placed(polygon, downsample, corner), mask, class_id, area_um2)


def write_geojson(
    path: str | Path,
    store: str | Path | Mask,
    min_area_um2: float = 0.0,
    simplify_um: float | None = None,
    step: Step = no_step,
    level: int = 0,
) -> int:
    """Write the annotations of a finished mask; gzip where the name ends in ``.gz``.

    >>> write_geojson("outlines.geojson", "mask.zarr", min_area_um2=5000) > 0
    True

    Args:
        path: The file; it appears when it is complete.
        store: The mask, or where it is.
        min_area_um2: Leave out smaller polygons, µm².
        simplify_um: See :func:`features`.
        step: See :func:`features`.
        level: See :func:`features`.

    Returns:
        The number of features.

    Raises:
        OutputError: there is no finished mask, or it is damaged.
        OSError: the file cannot be written.
    """
    mask = store if isinstance(store, Mask) else Mask.open(store)
    count = 0
    with writing(slide_location(path)) as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if str(path).endswith(".gz") else raw
        file = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        file.write('{"type": "FeatureCollection", "features": [')
        for feature in features(mask, min_area_um2, simplify_um=simplify_um, step=step, level=level):
            file.write(",\n" if count else "\n")
            json.dump(feature, file, allow_nan=False, separators=(",", ":"))
            count += 1
        file.write("\n]}\n")
        file.detach()  # which flushes, and leaves closing to those who opened
        if packed is not raw:
            packed.close()
    return count


def _placed(polygon: shapely.Polygon, downsample: float, corner: tuple[float, float]) -> shapely.Polygon:
    scaled = shapely.transform(polygon, lambda points: np.round(points * downsample + corner, _DECIMALS))
    assert isinstance(scaled, shapely.Polygon)
    return scaled


def _feature(polygon: shapely.Polygon, mask: Mask, class_id: int, area_um2: float) -> dict[str, Any]:
    name = mask.classes[class_id].name.replace(":", " -")  # a colon would make a derived class in QuPath
    # of the polygon as it was found: turning its rings must not change the ids that earlier versions gave
    identity = f"{mask.provenance['slide']['fingerprint']}/{class_id}/{polygon.wkb_hex}"
    turned = oriented(polygon)
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": {
            "type": "Polygon",
            "coordinates": [[list(point) for point in ring.coords] for ring in (turned.exterior, *turned.interiors)],
        },
        "properties": {
            "objectType": "annotation",
            "name": name,
            "isLocked": True,
            "classification": {"name": name, "color": list(mask.classes[class_id].color)},
            "measurements": {"Area um^2": round(area_um2, 2)},
        },
    }
