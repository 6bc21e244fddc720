"""Annotations of a slide: polygons with a class, from QuPath's GeoJSON or ImageScope's XML.

Coordinates are level-0 pixels from the corner of the slide's bounds, as QuPath counts them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from wsi_segment.errors import DatasetError
from wsi_segment.inference.grid.box import Box

SUFFIXES = (".geojson", ".geojson.gz", ".json", ".xml")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One outline."""

    name: str
    """Of its class; empty where it has none."""
    color: tuple[int, int, int] | None
    geometry: shapely.Geometry
    """Polygon or multipolygon, level-0 pixels from the corner of the bounds."""


def read_annotations(path: Path) -> list[Annotation]:
    """The polygons of a file, in its order; points and lines are left out.

    Raises:
        DatasetError: the file is missing, or neither GeoJSON nor ImageScope XML.
    """
    try:
        if path.suffix.lower() == ".xml":
            return _from_imagescope(path)
        content = path.read_bytes()
        return _from_geojson(json.loads(gzip.decompress(content) if path.suffix == ".gz" else content))
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ElementTree.ParseError, shapely.GEOSException) as error:
        kind = "ImageScope XML" if path.suffix.lower() == ".xml" else "GeoJSON as QuPath exports it"
        raise DatasetError(f"{path}: not {kind} ({' '.join(str(error).split()):.120})") from error


def _from_geojson(content: Any) -> list[Annotation]:
    features = content["features"] if isinstance(content, dict) and "features" in content else content
    found = []
    for feature in features if isinstance(features, list) else [features]:
        geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        if geometry.geom_type not in ("Polygon", "MultiPolygon"):
            continue
        described = (feature.get("properties") or {}).get("classification") or {}
        color = described.get("color")
        if color is None and isinstance(described.get("colorRGB"), int):  # QuPath before 0.4: one signed number
            rgb = described["colorRGB"] & 0xFFFFFF
            color = (rgb >> 16, rgb >> 8 & 255, rgb & 255)
        name = described.get("name") or ": ".join(described.get("names", []))
        found.append(Annotation(str(name), None if color is None else tuple(color[:3]), geometry))
    return found


def _from_imagescope(path: Path) -> list[Annotation]:
    root = ElementTree.parse(path).getroot()
    if root.tag != "Annotations":
        raise ValueError(f"its root is {root.tag!r}")
    found = []
    for layer in root.iter("Annotation"):
        for region in layer.iter("Region"):
            points = [(float(vertex.attrib["X"]), float(vertex.attrib["Y"])) for vertex in region.iter("Vertex")]
            if len(points) < 3:
                continue
            labels = [entry.get("Value") or entry.get("Text") or "" for entry in region.iter("Attribute")]
            name = next((label for label in labels if label), region.get("Text") or layer.get("Name") or "")
            found.append(Annotation(name, None, shapely.make_valid(shapely.Polygon(points))))
    return found


class AnnotationMap:
    """Class ids a pixel, in the frame of a slide's mask; where outlines overlap the later one counts."""

    def __init__(
        self,
        annotations: Sequence[Annotation],
        class_of: Callable[[str], int | None],
        origin: tuple[float, float],
        downsample: float,
        unannotated: int = 0,
    ) -> None:
        """Place annotations in a frame.

        Args:
            annotations: In the order in which they count.
            class_of: Class id of a name; None leaves it out.
            origin: x and y of the first mask pixel's corner, in level-0 pixels from the corner of the slide's bounds.
            downsample: Level-0 pixels per mask pixel.
            unannotated: Class id of what no outline covers.
        """
        known = [(class_of(entry.name), entry.geometry) for entry in annotations]
        self._ids = [class_id for class_id, _ in known if class_id is not None]
        self._unannotated = unannotated
        self._geometries = [
            shapely.transform(geometry, lambda points: (points - np.array(origin)) / downsample)
            for class_id, geometry in known
            if class_id is not None
        ]
        self._tree = shapely.STRtree(self._geometries)

    def __call__(self, m_box: Box) -> NDArray[np.uint8]:
        """Class ids (height, width) of a box; a pixel has the class of the outline that holds its centre."""
        shape = m_box.height, m_box.width
        near = np.sort(self._tree.query(shapely.box(m_box.x0, m_box.y0, m_box.x1, m_box.y1)))
        shapes = [(self._geometries[i], self._ids[i]) for i in near if not self._geometries[i].is_empty]
        if not shapes:
            return np.full(shape, self._unannotated, np.uint8)
        place = Affine(1, 0, m_box.x0, 0, 1, m_box.y0)
        ids: NDArray[np.uint8] = rasterize(shapes, shape, fill=self._unannotated, transform=place, dtype="uint8")
        return ids

    def touches(self, m_box: Box) -> bool:
        """Whether some outline touches a box."""
        found = self._tree.query(shapely.box(m_box.x0, m_box.y0, m_box.x1, m_box.y1), predicate="intersects")
        return bool(len(found))
