"""Outlines in XML as Aperio ImageScope writes them, and HALO in much the same words.

A file holds layers (``Annotation``) of regions, each with vertices in level-0 pixels: ``Vertex`` in ImageScope's, ``V``
in HALO's. A region with ``NegativeROA`` is a hole in those of its layer that it lies in. Rectangles can be stated by
two corners; ellipses by two corners of their box (HALO) or the ends of both axes (``GeoShape``). Rulers, arrows and
pins have no area. HALO's words are those of pyhaloxml, https://github.com/rharkes/pyhaloxml.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_segment.errors import DatasetError
from wsi_segment.inference.slides.geojson_features import Kind
from wsi_segment.inference.slides.outlines import FLAT, Outline, Outlines, valid_area

XML_SUFFIXES = (".xml", ".annotations")
"""Suffixes of files that are read as XML; the second one is HALO's."""

_OTHERS = {"ASAP_Annotations": "ASAP", "annotations": "Hamamatsu NDP.view"}
"""Programs whose files are XML too, by their root."""
_WITHOUT_AREA = {"ruler": ("ruler", "rulers"), "pin": ("pin", "pins"), "arrow": ("arrow", "arrows")}
_NUMBERED = {"1": "rectangle", "2": "ellipse"}
"""Types of regions as ImageScope numbers them; 0 is drawn by hand."""
_STRAY: Kind = ("hole of no outline", "holes of no outline")
_ELLIPSE_POINTS = 128

Area = shapely.Polygon | shapely.MultiPolygon


@dataclass(frozen=True, slots=True)
class _Region:
    name: str
    area: Area
    is_hole: bool


def read_xml_outlines(path: Path) -> Outlines:
    """Read the outlines of an XML file, in its order.

    Raises:
        DatasetError: the file is missing, or not XML of ImageScope or HALO.
    """
    try:
        areas, left_out = list[Outline](), Counter[Kind]()
        for layer in _root_of(path).iter("Annotation"):
            areas.extend(_outlines_of(list(_regions_of(layer, left_out)), left_out))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, ElementTree.ParseError, shapely.GEOSException) as error:
        raise DatasetError(f"{path}: not ImageScope XML ({' '.join(str(error).split()):.160})") from error
    return Outlines(tuple(areas), left_out)


def _root_of(path: Path) -> Any:
    root = ElementTree.parse(path).getroot()
    if root.tag != "Annotations":
        of = f", as {_OTHERS[root.tag]} writes it" if root.tag in _OTHERS else ""
        raise ValueError(f"its root is {root.tag!r}{of}; export the outlines as GeoJSON")
    return root


def _regions_of(layer: Any, left_out: Counter[Kind]) -> Iterator[_Region]:
    """Yield the regions of a layer that have an area, and count the others."""
    for region in layer.iter("Region"):
        shape = (region.get("GeoShape") or region.get("Type") or "").lower()
        shape = _NUMBERED.get(shape, shape)
        if shape in _WITHOUT_AREA:
            left_out[_WITHOUT_AREA[shape]] += 1
            continue
        vertices = [vertex for vertex in region.iter() if vertex.tag in ("Vertex", "V")]
        points = _ring_of([(float(vertex.attrib["X"]), float(vertex.attrib["Y"])) for vertex in vertices], shape)
        area = valid_area([shapely.Polygon(points)]) if len(points) >= 3 else None
        if area is None:
            left_out[FLAT] += 1
            continue
        labels = [entry.get("Value") or entry.get("Text") or "" for entry in region.iter("Attribute")]
        name = next((label for label in labels if label), region.get("Text") or layer.get("Name") or "")
        yield _Region(name, area, region.get("NegativeROA", "0").lower() in ("1", "true"))


def _ring_of(vertices: Sequence[tuple[float, float]], shape: str) -> NDArray[np.float64]:
    """Return the ring (n, 2) that the vertices of a region mean."""
    points = np.array(vertices, np.float64).reshape(-1, 2)
    if len(points) == 2 and shape in ("rectangle", "ellipse"):
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        if shape == "ellipse":
            points = (points + np.roll(points, -1, axis=0)) / 2
    if len(points) == 4 and shape == "ellipse":
        if all(len(np.unique(axis)) == 2 for axis in points.T):  # corners of its box, not the ends of its axes
            points = (points + np.roll(points, -1, axis=0)) / 2
        turn = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
        along, across = (points[0] - points[2]) / 2, (points[1] - points[3]) / 2
        points = points.mean(axis=0) + np.cos(turn) * along + np.sin(turn) * across
    return points


def _outlines_of(regions: Sequence[_Region], left_out: Counter[Kind]) -> Iterator[Outline]:
    """Yield the regions of a layer without the holes in them; what lies within a hole, as an island, stays."""
    holes = [region.area for region in regions if region.is_hole]
    used = [False] * len(holes)
    for region in regions:
        if region.is_hole:
            continue
        area: shapely.Geometry = region.area
        for number, hole in enumerate(holes):
            if shapely.area(shapely.intersection(area, hole)) > 0 and not shapely.covers(hole, region.area):
                area, used[number] = shapely.difference(area, hole), True
        parts = [part for part in shapely.get_parts(area) if isinstance(part, shapely.Polygon)]
        whole = valid_area(parts) if parts else None
        if whole is not None:
            yield Outline(region.name, None, whole)
    if stray := used.count(False):
        left_out[_STRAY] += stray
