"""Outlines of a class map: polygons tile by tile, joined where a tile's edge cut them.

Every class becomes the 4-connected pieces of its pixels, holes kept. Simplification happens within a tile, on
all classes together and with the tile's edges held fast, so that neighbours stay disjoint and pieces still
meet at the seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

ReadTile = Callable[[int, int, int], NDArray[np.uint8]]
"""(y, x, side) to the class ids of that square, cut off at the map's edge."""

MAX_RING_VERTICES = 20_000
"""Viewers slow down on longer rings; polygons that have one are cut in halves."""

_FINE, _COARSE, _LARGE = 0.8, 2.0, 3000.0
"""By default corners of single pixels may go (triangles of half a pixel), and triangles of up to 2 x 2 where pieces of
at least 3,000 pixels meet: such corners count in the areas of small pieces, and large ones have the most of them."""

_OFF = 0.004
"""By default a piece whose area would change by a larger share keeps its corners, as pieces do of which one corner is
more than that. A tenth of a percent is left for the rounding of coordinates."""

MAX_OPEN_VERTICES = 400_000
"""Tissue can be one connected piece from the first row of tiles to the last; this bounds what has to be held of it."""


@dataclass(frozen=True, slots=True)
class ClassPolygon:
    """A piece of one class, in pixels of the class map."""

    class_id: int
    polygon: shapely.Polygon


def class_polygons(
    read: ReadTile, height: int, width: int, tolerance: float | None, tile: int = 1024, most: int = MAX_OPEN_VERTICES
) -> Iterator[ClassPolygon]:
    """Yield the polygons of a class map; class 0 has none. Their order depends on the map and the tile only.

    Args:
        read: Reads a square of the map.
        height: Of the map, pixels.
        width: Of the map, pixels.
        tolerance: Side in pixels of the triangles that simplification may take away; 0 keeps every corner, None takes
            less away where pieces are small, and keeps the area of each to 0.4 %.
        tile: Side of a tile in pixels.
        most: A polygon that grows beyond so many vertices is cut at the end of a row of tiles.

    Memory bound:
        The polygons of one row of tiles, and ``most`` vertices of each that reaches its lower seam.
    """
    above: list[_Piece] = []
    for y in range(0, height, tile):
        bottom = min(y + tile, height)
        row: list[_Piece] = []
        for x in range(0, width, tile):
            ids = read(y, x, tile)
            right = x + ids.shape[1]
            inside = shapely.box(x + 0.25, y + 0.25, right - 0.25, bottom - 0.25)
            for found in _tile_polygons(ids, x, y, tolerance):
                if shapely.contains_properly(inside, shapely.envelope(found.polygon)):
                    yield found
                else:
                    row.append(_Piece(found.class_id, [found.polygon]))
        joined = _Groups([*above, *row])
        joined.join([piece for piece in above if piece.open], 1, y, row)
        for x in range(tile, width, tile):
            joined.join(row, 0, x, row)
        above = []
        for piece in joined.groups():
            piece.open = bottom < height and any(polygon.bounds[3] >= bottom for polygon in piece.polygons)
            if piece.open and piece.vertices <= most:
                above.append(piece)
            else:
                for part in _parts(shapely.union_all(piece.polygons)):
                    yield ClassPolygon(piece.class_id, part if tolerance else _without_straight_corners(part))


@dataclass(slots=True, eq=False)
class _Piece:
    """Polygons of one class that belong together and are not joined into one yet."""

    class_id: int
    polygons: list[shapely.Polygon]
    open: bool = True
    """Whether it may continue below."""

    @property
    def vertices(self) -> int:
        return int(shapely.get_num_coordinates(self.polygons).sum())

    def edges(self, axis: int, at: float) -> Iterator[tuple[float, float]]:
        """Yield stretches of outlines along a seam: of the line x = at (axis 0), or y = at (axis 1)."""
        for polygon in self.polygons:
            if polygon.bounds[axis] <= at <= polygon.bounds[axis + 2]:
                ring = shapely.get_coordinates(polygon.exterior)
                on = ring[:, axis] == at
                for index in np.flatnonzero(on[:-1] & on[1:]):
                    ends = float(ring[index, 1 - axis]), float(ring[index + 1, 1 - axis])
                    yield min(ends), max(ends)


class _Groups:
    """Sets of pieces that meet along seams, kept as a union-find forest: each piece leads to one leader."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._leader: dict[int, int] = {index: index for index in range(len(pieces))}
        self._index = {id(piece): index for index, piece in enumerate(pieces)}

    def join(self, before: list[_Piece], axis: int, at: float, after: list[_Piece]) -> None:
        """Join pieces of one class that share some length of a seam; a common corner joins nothing.

        Args:
            before: Pieces on the upper or left side of the seam, or all.
            axis: 0 for the seam x = ``at``, 1 for the seam y = ``at``.
            at: Where the seam is, in pixels of the class map.
            after: Pieces on the other side, or all.
        """
        # A sweep along the seam: every outline contributes the stretches of it that it runs along. Sorted by class and
        # start, a stretch overlaps an earlier one of its class exactly if it starts before the furthest end so far, so
        # that one comparison per stretch replaces one per pair. "<" and not "<=": stretches that only touch have a
        # corner in common, which 4-connected pieces are not joined by.
        stretches = sorted(
            (piece.class_id, start, end, self._index[id(piece)])
            for piece in {id(piece): piece for piece in (*before, *after)}.values()
            for start, end in piece.edges(axis, at)
        )
        reach: tuple[int, float, int] | None = None  # class, end and piece of what reaches furthest so far
        for class_id, start, end, index in stretches:
            if reach is not None and reach[0] == class_id and start < reach[1]:
                self._leader[self._find(index)] = self._find(reach[2])
            if reach is None or reach[0] != class_id or end > reach[1]:
                reach = class_id, end, index

    def groups(self) -> Iterator[_Piece]:
        """Yield what belongs together as one piece each, in the order of the first piece of each."""
        members: dict[int, list[_Piece]] = {}
        for index, piece in enumerate(self._pieces):
            members.setdefault(self._find(index), []).append(piece)
        for pieces in members.values():
            yield _Piece(pieces[0].class_id, [polygon for piece in pieces for polygon in piece.polygons])

    def _find(self, index: int) -> int:
        while self._leader[index] != index:
            self._leader[index] = self._leader[self._leader[index]]
            index = self._leader[index]
        return index


def oriented(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return the polygon with its shell counterclockwise and its holes clockwise, as RFC 7946 asks.

    >>> oriented(shapely.Polygon([(0, 0), (0, 1), (1, 1), (1, 0)])).exterior.is_ccw
    True
    """
    turned = shapely.orient_polygons(polygon, exterior_cw=False)
    assert isinstance(turned, shapely.Polygon)
    return turned


def split_large(polygon: shapely.Polygon, most: int = MAX_RING_VERTICES) -> Iterator[shapely.Polygon]:
    """Yield a polygon, or its pieces after cutting it in halves until no ring is too long."""
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


def _tile_polygons(ids: NDArray[np.uint8], x: int, y: int, tolerance: float | None) -> Iterator[ClassPolygon]:
    if not ids.any():
        return
    # with a tolerance, class 0 takes part: its edges with other classes are simplified as well
    wanted = ids > 0 if tolerance == 0 else None
    from rasterio.features import shapes  # GDAL takes long to load, and a run comes to outlines at its end
    from rasterio.transform import Affine

    found = shapes(ids, mask=wanted, connectivity=4, transform=Affine.translation(x, y))
    pieces = [(int(value), _polygon(geometry)) for geometry, value in found]
    polygons = np.array([polygon for _, polygon in pieces], dtype=object)
    if tolerance != 0:
        # outlines have no corner where a neighbour's edge only ends at theirs; unit steps give them one
        stepped = shapely.segmentize(polygons, 1.0)
        if tolerance is None:
            areas = shapely.area(polygons)
            fine = _simplified(stepped, areas, tolerance=_FINE, least=0.5 / _OFF)
            polygons = shapely.simplify(_simplified(fine, areas, tolerance=_COARSE, least=_LARGE), 0.0)
        else:
            polygons = shapely.coverage_simplify(stepped, tolerance, simplify_boundary=False)
    for (class_id, _), polygon in zip(pieces, polygons, strict=True):
        if class_id:
            for part in _parts(polygon):
                yield ClassPolygon(class_id, part)


def _simplified(
    polygons: NDArray[np.object_], areas: NDArray[np.float64], tolerance: float, least: float
) -> NDArray[np.object_]:
    """Return the pieces of a tile with fewer corners, each within ``_OFF`` of its area.

    Args:
        polygons: The pieces, with a corner wherever a neighbour's edge ends.
        areas: Of the pieces as the map has them, pixels.
        tolerance: Side in pixels of the triangles that may go.
        least: Smaller pieces stay as they are, pixels.
    """
    simplified = polygons.copy()
    chosen = np.flatnonzero(areas >= least)
    while chosen.size:
        # edges that chosen pieces share with the others bound this coverage and stay as they are
        simpler = shapely.coverage_simplify(polygons[chosen], tolerance, simplify_boundary=False)
        kept = np.abs(shapely.area(simpler) - areas[chosen]) <= _OFF * areas[chosen]
        if kept.all():
            simplified[chosen] = simpler
            break
        chosen = chosen[kept]  # their neighbours lose fewer corners now, so that their areas are another matter
    return simplified


def _polygon(geometry: dict[str, Any]) -> shapely.Polygon:
    shell, *holes = geometry["coordinates"]
    return shapely.Polygon(shell, holes)


def _parts(geometry: Any) -> list[shapely.Polygon]:
    """Return the polygons of a geometry; where parts only touch, points and lines are left out."""
    return [part for part in shapely.get_parts(geometry).tolist() if part.geom_type == "Polygon" and part.area > 0]


def _without_straight_corners(polygon: shapely.Polygon) -> shapely.Polygon:
    """Return the same area without the corners that joining left on straight edges."""
    straight = shapely.simplify(polygon, 0.0)
    assert isinstance(straight, shapely.Polygon)
    return straight
