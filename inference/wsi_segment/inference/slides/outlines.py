"""Read outlines from GeoJSON: the one reader for tissue, regions, training, evaluation and jobs over HTTP.

Outlines come from QuPath, from scripts and from converters, so one area can be written in many ways: in a
FeatureCollection, as one feature, in a list of features or as a bare geometry; as Polygon, MultiPolygon or a
GeometryCollection of them; packed with gzip; in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark; with rings
that are not closed, that cross themselves or that have heights. All of these are read. What has no area, such as a
line, is left out and counted; what cannot be understood is refused with the reason.

Coordinates are level-0 pixels from the corner of the slide's bounds, as QuPath counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.geojson_features import (
    MISSING_CORE,
    Kind,
    Kinds,
    Rings,
    class_name,
    count_kinds,
    describe_no_area,
    features_of,
    is_ignored,
    naming,
    polygons_of_feature,
    read_json,
    text_of,
)

_FARTHEST = 1e9
"""Level-0 pixels; geometries of larger numbers cannot be computed with."""

_BEYOND = 0.1
"""Share of an area that lies off the slide from which on more than an unsteady hand is behind it."""

FLAT = ("flat outline", "flat outlines")
"""An outline whose points lie on a line."""

Extent = tuple[float, float, float, float]
"""x0, y0, x1, y1 in level-0 pixels from the corner of the slide's bounds."""


@dataclass(frozen=True, slots=True)
class Outline:
    """One area that a person drew or a program wrote."""

    name: str
    """Name of its class; empty if it has none."""
    color: tuple[int, int, int] | None
    """RGB of its class."""
    geometry: shapely.Polygon | shapely.MultiPolygon
    """Valid, with an area."""
    title: str = ""
    """Its own name, which QuPath shows beside it; not a class."""

    @property
    def ignored(self) -> bool:
        """Whether its class is named for what is to be left out, such as ``Ignore*``."""
        return is_ignored(self.name)


@dataclass(frozen=True, slots=True)
class Outlines:
    """The areas of a file, in its order."""

    areas: tuple[Outline, ...]
    left_out: Kinds
    """How many of each kind without an area the file holds besides; a kind has a name for one and one for several."""

    def __iter__(self) -> Iterator[Outline]:
        return iter(self.areas)

    def of_interest(self) -> Outlines:
        """Return the outlines without those whose class is named for what is to be left out, such as ``Ignore*``."""
        return replace(self, areas=tuple(outline for outline in self.areas if not outline.ignored))

    @property
    def ignored(self) -> tuple[Outline, ...]:
        """Those whose class is named for what is to be left out."""
        return tuple(outline for outline in self.areas if outline.ignored)

    @property
    def extent(self) -> Extent:
        """The smallest box around all areas; not a number where there is none."""
        x0, y0, x1, y1 = shapely.total_bounds([outline.geometry for outline in self.areas])
        return float(x0), float(y0), float(x1), float(y1)

    def count_beside(self, extent: Extent) -> int:
        """Count the areas that share nothing, or only an edge, with a box."""
        box = shapely.box(*extent)
        shapely.prepare(box)
        areas = np.array([outline.geometry for outline in self.areas], object)
        return int(np.count_nonzero(~shapely.intersects(box, areas) | shapely.touches(box, areas)))

    def share_beyond(self, extent: Extent) -> float:
        """Return which share of the area of all outlines lies beyond a box, outlines that lie beside it left out."""
        areas = np.array([outline.geometry for outline in self.areas], object)
        within = shapely.area(shapely.clip_by_rect(areas, *extent))
        whole = float(shapely.area(areas)[within > 0].sum())
        return 1 - float(within.sum()) / whole if whole else 0.0

    def refuse_beside(self, extent: Extent, path: Path, what: str = "the slide") -> None:
        """Refuse outlines of which none lies on a slide or mask.

        Args:
            extent: Of the slide or mask.
            path: The file of the outlines, for the message.
            what: Name of the slide or mask, for the message.

        Raises:
            InputError: all lie beside it, or within a pixel of it; the message states what they span.
        """
        x0, y0, x1, y1 = self.extent if self.areas else extent
        if max(x1 - x0, y1 - y0) <= 1:
            raise InputError(
                f"{path}: its outlines span {_span(self.extent)}, no more than a pixel; give them in level-0 pixels, "
                "not in fractions of the slide"
            )
        if self.areas and self.count_beside(extent) == len(self.areas):
            raise InputError(
                f"{path}: its outlines lie beside {what}: they span {_span(self.extent)}, {what} {_span(extent)}, in "
                "level-0 pixels from the corner of the scanned part; are they of another slide, or in other units?"
            )

    def describe_left_out(self, extent: Extent | None = None) -> str:
        """Describe what is not used, such as ``2 lines, which have no area``; empty where all is.

        Args:
            extent: Of the slide, to count what lies beside it too.
        """
        said = []
        flat = {kind: count for kind, count in self.left_out.items() if kind != MISSING_CORE}
        if missing := self.left_out.get(MISSING_CORE):
            said.append(count_kinds({MISSING_CORE: missing}))
        if flat:
            has = "has" if sum(flat.values()) == 1 else "have"
            said.append(f"{count_kinds(flat)}, which {has} no area")
        if extent is not None and self.areas and (beside := self.count_beside(extent)):
            lies = "lies" if beside == 1 else "lie"
            said.append(f"{beside} of {len(self.areas)} outlines, which {lies} beside the slide")
        if extent is not None and self.areas and (beyond := self.share_beyond(extent)) > _BEYOND:
            said.append(
                f"{100 * beyond:.3g} % of the area of the outlines, which reach beyond the slide: they span "
                f"{_span(self.extent)}, the slide {_span(extent)}"
            )
        return "; ".join(said)


def read_outlines(path: Path) -> Outlines:
    """Read the outlines of a GeoJSON file.

    Args:
        path: The file, packed with gzip or not; its name does not matter.

    Raises:
        InputError: it is missing, not GeoJSON, or holds a geometry that GeoJSON does not know.
    """
    with naming(path):
        return parse_outlines(read_json(path))


def read_areas(path: Path) -> Outlines:
    """Read the outlines of a GeoJSON file that must hold an area, as :func:`read_outlines` does.

    Raises:
        InputError: nothing in the file has an area, too; the message says what it holds.
    """
    outlines = read_outlines(path)
    if not outlines.areas:
        raise InputError(f"{path}: {describe_no_area(outlines.left_out)}")
    return outlines


def parse_outlines(content: Any) -> Outlines:
    """Read the outlines of parsed GeoJSON.

    Args:
        content: A FeatureCollection, a feature, a geometry, or a list of them.

    Raises:
        InputError: it is none of these.
    """
    areas, left_out = [], Counter[Kind]()
    for number, (geometry, properties) in enumerate(features_of(content), start=1):
        try:
            rings = list(polygons_of_feature(geometry, properties, left_out))
            area = valid_area([polygon for one in rings if (polygon := _polygon(one)) is not None])
        except (TypeError, ValueError, KeyError, OverflowError, shapely.GEOSException) as error:
            raise InputError(
                f"not GeoJSON: the coordinates of outline {number} are not lists of rings of [x, y] ({error})"
            ) from error
        if area is not None:
            areas.append(
                Outline(class_name(properties), _class_color(properties), area, text_of(properties.get("name")))
            )
        elif rings:
            left_out[FLAT] += 1
    return Outlines(tuple(areas), left_out)


def _polygon(rings: Rings) -> shapely.Polygon | None:
    """Make a polygon of its rings, closing them and dropping heights; None for a shell of less than three points."""
    outlines = []
    for ring in rings:
        if not isinstance(ring, list) or not all(isinstance(position, list) for position in ring):
            raise ValueError("something else stands where a ring or a position belongs")
        if any(isinstance(number, bool) for position in ring for number in position[:2]):
            raise ValueError("a position is true or false, not a number")
        points = np.array([position[:2] for position in ring], np.float64)
        if points.size and (points.ndim != 2 or points.shape[1] != 2):
            raise ValueError("a position has fewer than two numbers")
        if not np.isfinite(points).all():
            raise ValueError("a position is not a number")
        if points.size and np.abs(points).max() > _FARTHEST:
            raise ValueError(f"a position is {np.abs(points).max():.3g}, farther out than any slide reaches")
        if len(points) >= 3:
            outlines.append(points)
        elif not outlines:
            return None
    return shapely.Polygon(outlines[0], outlines[1:]) if outlines else None


def valid_area(polygons: Sequence[shapely.Polygon]) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Join polygons to one valid geometry, None where they have no area; valid ones are left as they are."""
    geometry: shapely.Geometry = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    if not shapely.is_valid(geometry):
        shells = [_ring_area(polygon.exterior) for polygon in polygons]
        rings = [[_ring_area(ring) for ring in polygon.interiors] for polygon in polygons]
        if any(_lie_beside(shell, inner) for shell, inner in zip(shells, rings, strict=True)):
            raise ValueError("a ring after the first one lies beside it and is no hole: write both as a MultiPolygon")
        holes = [shapely.union_all(inner) for inner in rings]
        geometry = shapely.union_all(shapely.difference(shells, holes))
    return geometry if isinstance(geometry, shapely.Polygon | shapely.MultiPolygon) and geometry.area > 0 else None


def _lie_beside(shell: shapely.Geometry, inner: Sequence[shapely.Geometry]) -> bool:
    """Return whether some of what should be holes in a shell shares no area with it."""
    areas = np.array(inner, object)
    return bool(((shapely.area(areas) > 0) & (shapely.area(shapely.intersection(areas, shell)) == 0)).any())


def _ring_area(ring: shapely.LinearRing) -> shapely.Geometry:
    """Return all that a ring surrounds, be it twice, as where a pen crosses its own line at the end.

    This is the non-zero rule; the other method of GEOS, ``linework``, strays from it where a pen goes back on its line.
    """
    return shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False)


def _class_color(properties: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Return the colour of the class: three numbers, or one signed number as QuPath before 0.4 wrote it."""
    described = properties.get("classification")
    if not isinstance(described, dict):
        return None
    color = described.get("color", described.get("colorRGB"))
    if isinstance(color, int):
        return color >> 16 & 255, color >> 8 & 255, color & 255
    if isinstance(color, list) and len(color) >= 3 and all(isinstance(c, int) and 0 <= c <= 255 for c in color[:3]):
        return color[0], color[1], color[2]
    return None


def _span(extent: Extent) -> str:
    x0, y0, x1, y1 = extent
    return f"x {x0:.6g} to {x1:.6g} and y {y0:.6g} to {y1:.6g}"
