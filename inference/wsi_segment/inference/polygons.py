"""Outlines of a class map: polygons tile by tile, joined where a tile's edge cut them.

Every class becomes the 4-connected pieces of its pixels, holes kept. Simplification happens within a tile, on
all classes together and with the tile's edges held fast, so that neighbours stay disjoint and pieces still
meet at the seams.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.transform import Affine

ReadTile = Callable[[int, int, int], NDArray[np.uint8]]
"""(y, x, side) to the class ids of that square, cut off at the map's edge."""

MAX_RING_VERTICES = 20_000
"""Viewers slow down on longer rings; polygons that have one are cut in halves."""


@dataclass(frozen=True, slots=True)
class ClassPolygon:
    """A piece of one class, in pixels of the class map."""

    class_id: int
    polygon: shapely.Polygon


def class_polygons(
    read: ReadTile, height: int, width: int, tolerance: float, tile: int = 1024
) -> Iterator[ClassPolygon]:
    """The polygons of a class map; class 0 has none. Their order depends on the map and the tile only.

    Args:
        read: Reads a square of the map.
        height: Of the map, pixels.
        width: Of the map, pixels.
        tolerance: Side in pixels of the triangles that simplification may take away; 0 keeps every corner.
        tile: Side of a tile in pixels.

    Memory bound:
        The polygons of one tile, and those that touch the seams of the last row of tiles.
    """
    open_pieces: dict[int, list[shapely.Polygon]] = defaultdict(list)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            ids = read(y, x, tile)
            inside = shapely.box(x + 0.25, y + 0.25, x + ids.shape[1] - 0.25, y + ids.shape[0] - 0.25)
            for piece in _tile_polygons(ids, x, y, tolerance):
                if shapely.contains_properly(inside, shapely.envelope(piece.polygon)):
                    yield piece
                else:
                    open_pieces[piece.class_id].append(piece.polygon)
        bottom = y + tile
        for class_id in sorted(open_pieces):
            joined = _parts(shapely.union_all(open_pieces[class_id]))
            finished = [part for part in joined if part.bounds[3] < bottom or bottom >= height]
            open_pieces[class_id] = [part for part in joined if part.bounds[3] >= bottom and bottom < height]
            for part in finished:
                yield ClassPolygon(class_id, part if tolerance else _without_straight_corners(part))


def split_large(polygon: shapely.Polygon, most: int = MAX_RING_VERTICES) -> Iterator[shapely.Polygon]:
    """A polygon, or the pieces of it that are left when it is cut in halves until no ring is too long."""
    rings = [polygon.exterior, *polygon.interiors]
    if max(shapely.get_num_coordinates(rings)) <= most:
        yield polygon
        return
    x0, y0, x1, y1 = polygon.bounds
    if x1 - x0 > y1 - y0:
        middle = round((x0 + x1) / 2)
        halves = shapely.box(x0, y0, middle, y1), shapely.box(middle, y0, x1, y1)
    else:
        middle = round((y0 + y1) / 2)
        halves = shapely.box(x0, y0, x1, middle), shapely.box(x0, middle, x1, y1)
    for half in halves:
        for part in _parts(shapely.intersection(polygon, half)):
            yield from split_large(part, most)


def _tile_polygons(ids: NDArray[np.uint8], x: int, y: int, tolerance: float) -> Iterator[ClassPolygon]:
    if not ids.any():
        return
    # with a tolerance, class 0 takes part: its edges with other classes are simplified as well
    wanted = None if tolerance else ids > 0
    found = shapes(ids, mask=wanted, connectivity=4, transform=Affine.translation(x, y))
    pieces = [(int(value), _polygon(geometry)) for geometry, value in found]
    polygons = np.array([polygon for _, polygon in pieces], dtype=object)
    if tolerance:
        # outlines have no corner where a neighbour's edge only ends at theirs; unit steps give them one
        stepped = shapely.segmentize(polygons, 1.0)
        polygons = shapely.coverage_simplify(stepped, tolerance, simplify_boundary=False)
    for (class_id, _), polygon in zip(pieces, polygons, strict=True):
        if class_id:
            for part in _parts(polygon):
                yield ClassPolygon(class_id, part)


def _polygon(geometry: dict[str, Any]) -> shapely.Polygon:
    shell, *holes = geometry["coordinates"]
    return shapely.Polygon(shell, holes)


def _parts(geometry: Any) -> list[shapely.Polygon]:
    """The polygons of a geometry; points and lines of a touching are no area."""
    return [part for part in shapely.get_parts(geometry).tolist() if part.geom_type == "Polygon" and part.area > 0]


def _without_straight_corners(polygon: shapely.Polygon) -> shapely.Polygon:
    """The same area without the corners that joining left on straight edges."""
    straight = shapely.simplify(polygon, 0.0)
    assert isinstance(straight, shapely.Polygon)
    return straight
