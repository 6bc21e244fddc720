"""Walk GeoJSON: find the features and the coordinates of their polygons, however the file is laid out.

Nothing here computes with coordinates; :mod:`wsi_segment.inference.slides.outlines` makes outlines of them.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsi_segment.errors import InputError
from wsi_segment.inference.slides.location import read_file

Kind = tuple[str, str]
"""Words for one of a kind, and for several."""
Kinds = Mapping[Kind, int]
"""How many of each kind."""
WITHOUT_AREA = {
    "Point": ("point", "points"),
    "MultiPoint": ("set of points", "sets of points"),
    "LineString": ("line", "lines"),
    "MultiLineString": ("set of lines", "sets of lines"),
}
"""Geometries of GeoJSON that enclose nothing, as messages call one and several of them."""
_NO_GEOMETRY = ("feature without geometry", "features without geometry")
MISSING_CORE = ("TMA core marked as missing", "TMA cores marked as missing")
"""A core of a tissue microarray that QuPath exports though there is nothing in its place."""
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"

_OTHER_FORMATS = {
    "elements": "an annotation of large_image (HistomicsTK, Digital Slide Archive)",
    "shapes": "a file of labelme",
    "categories": "COCO",
    "segmentation": "COCO",
    "nuc": "cells of HoVer-Net",
    "geometryType": "Esri JSON",
    "arcs": "TopoJSON",
    "_via_img_metadata": "a project of the VGG Image Annotator",
}
"""Formats of JSON, by a key that GeoJSON does not have."""

_LENGTH = re.compile(
    r"((nano|micro|milli|centi)?met(er|re)s?|[nµ\u03bcumckp]?m|å|\u212b|angstroms?|microns?|inch(es)?)", re.IGNORECASE
)
"""Units of length, as the axes of MicroJSON and members of the same kind name them."""
_IGNORED = re.compile(r"(ignored?|exclu(de|ded|sion)s?)\*?", re.IGNORECASE)
"""Names of classes for what is to be left out; QuPath's own is ``Ignore*``."""

Rings = Sequence[Sequence[Sequence[float]]]
"""Coordinates of one polygon: its shell, then its holes; each a list of positions [x, y]."""


def read_multipolygon(path: Path) -> dict[str, Any]:
    """Read all polygons of a GeoJSON file as one MultiPolygon, as a job over HTTP takes it.

    Raises:
        InputError: it is missing, not GeoJSON, holds no polygon, or one of what is to be left out.
    """
    with naming(path):
        content = read_json(path)
        for name in (class_name(properties) for _, properties in features_of(content)):
            if is_ignored(name):
                raise InputError(f"holds an outline of the class {name}; cut it out of the others, or remove it")
        return gather_polygons(content)


def gather_polygons(content: Any) -> dict[str, Any]:
    """Gather all polygons of parsed GeoJSON in one MultiPolygon; their coordinates are not looked at.

    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
    >>> gather_polygons([{"type": "Feature", "properties": {}, "geometry": square}])
    {'type': 'MultiPolygon', 'coordinates': [[[[0, 0], [9, 0], [9, 9], [0, 0]]]]}

    Raises:
        InputError: it is not GeoJSON, or holds no polygon.
    """
    left_out = Counter[Kind]()
    polygons = [rings for feature in features_of(content) for rings in polygons_of_feature(*feature, left_out)]
    if not polygons:
        raise InputError(describe_no_area(left_out))
    return {"type": "MultiPolygon", "coordinates": polygons}


def bounds_of(content: Any) -> tuple[float, float, float, float] | None:
    """Return x0, y0, x1, y1 around all polygons of parsed GeoJSON; None where it has none that can be read.

    >>> bounds_of({"type": "Polygon", "coordinates": [[[0, 5], [9, 0], [9, 9], [0, 5]]]})
    (0.0, 0.0, 9.0, 9.0)
    """
    try:
        shells = [rings[0] for rings in gather_polygons(content)["coordinates"]]
        xs, ys = ([float(position[axis]) for shell in shells for position in shell] for axis in (0, 1))
        box = min(xs), min(ys), max(xs), max(ys)
    except (InputError, TypeError, ValueError, LookupError):
        return None
    return box if all(map(math.isfinite, box)) else None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of the file before what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not GeoJSON: nested too deeply") from error


def read_packed(path: Path) -> bytes:
    """Return what a file holds, packed as it may be.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return read_file(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}; give a GeoJSON file of polygons") from error


def read_json(path: Path) -> Any:
    """Parse a file, packed with gzip or not; one JSON text per line (RFC 8142) makes a list.

    Raises:
        InputError: it is missing, damaged, or not JSON in UTF-8, UTF-16 or UTF-32.
    """
    content = read_packed(path)
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"cannot be read: its gzip is cut off or damaged ({error})") from error
    if not content.strip():
        raise InputError("not GeoJSON: the file is empty")
    if content.startswith(_ZIP):
        raise InputError("not GeoJSON but a ZIP archive; unpack it and give the file in it")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise InputError("not GeoJSON in UTF-8 or UTF-16; save it in one of them") from error
    if text.lstrip().startswith("<"):
        raise InputError("not GeoJSON but XML; export the outlines as GeoJSON")
    try:
        return json.loads(text)
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python reads
        try:
            return [json.loads(line.strip("\x1e \r")) for line in text.split("\n") if line.strip("\x1e \r")]
        except ValueError:
            raise InputError(f"not GeoJSON: {error}") from error


def features_of(content: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield the geometry and the properties of each feature; a bare geometry has no properties.

    Args:
        content: A FeatureCollection, a feature, a geometry, or a list of them.

    Raises:
        InputError: something else stands among them.
    """
    if isinstance(content, list):
        for entry in content:
            yield from features_of(entry)
        return
    if not isinstance(content, dict):
        raise InputError(f"not GeoJSON: {content!r:.40} stands where a feature or a geometry belongs")
    inner = content.get("annotation")  # around what the server of large_image gives
    for key, what in _OTHER_FORMATS.items():
        if key in content or (isinstance(inner, dict) and key in inner):
            raise InputError(f"not GeoJSON but {what}; convert its outlines to GeoJSON")
    refuse_units(content)
    if content.get("type") == "FeatureCollection" and not isinstance(content.get("features"), list):
        raise InputError("not GeoJSON: the features of its FeatureCollection are not a list")
    if isinstance(content.get("features"), list):
        yield from features_of(content["features"])
    elif "geometry" in content or content.get("type") == "Feature":
        given = content.get("properties")
        properties: Mapping[str, Any] = given if isinstance(given, dict) else {}
        yield _geometry_of(content, properties), properties
    else:
        yield content, {}


def refuse_units(content: Mapping[str, Any]) -> None:
    """Refuse an object of GeoJSON that states a unit of length for its coordinates.

    Raises:
        InputError: it does.
    """
    if unit := _unit_of(content):
        raise InputError(f"its coordinates are in {unit}; give them in level-0 pixels of the slide")


def _unit_of(content: Mapping[str, Any]) -> str:
    """Return the unit of length that a collection or feature states for its coordinates; empty where it states none."""
    inner = content.get("multiscale")
    axes = [*_listed(content.get("axes")), *_listed(inner.get("axes") if isinstance(inner, dict) else None)]
    stated = [axis.get("unit") for axis in axes if isinstance(axis, dict) and axis.get("name", "x") in ("x", "y")]
    stated += [content.get(key) for key in ("unit", "units", "coordinateUnit", "coordinate_unit")]
    return next((unit for unit in stated if isinstance(unit, str) and _LENGTH.fullmatch(unit.strip())), "")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def class_name(properties: Mapping[str, Any]) -> str:
    """Return the class: of an object with a name or names, which QuPath writes, or a plain string."""
    described = properties.get("classification")
    if not isinstance(described, dict):
        return described if isinstance(described, str) else ""
    names = described.get("names")
    joined = ": ".join(map(str, names)) if isinstance(names, list) else text_of(names)
    return text_of(described.get("name")) or joined


def text_of(value: Any) -> str:
    """Return a value as text, empty for None."""
    return "" if value is None else str(value)


def is_ignored(name: str) -> bool:
    """Return whether a class is named for what is to be left out.

    >>> [is_ignored(name) for name in ("Ignore*", "excluded", "Region*", "Tumor")]
    [True, True, False, False]
    """
    return bool(_IGNORED.fullmatch(name.strip()))


def _geometry_of(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    """Choose the geometry of a feature: of a cell of QuPath without an outline of its own, the nucleus."""
    geometry = feature.get("geometry")
    if geometry is None or (isinstance(geometry, dict) and str(geometry.get("type")) in WITHOUT_AREA):
        return feature.get("nucleusGeometry") or properties.get("nucleusGeometry") or geometry
    return geometry


def polygons_of_feature(geometry: Any, properties: Mapping[str, Any], left_out: Counter[Kind]) -> Iterator[Rings]:
    """Yield the coordinates of each polygon of a feature, and count what else it holds.

    Raises:
        InputError: what it has in place of a geometry is none.
    """
    if properties.get("isMissing") is True:
        left_out[MISSING_CORE] += 1
    else:
        yield from _polygons_of(geometry, left_out)


def _polygons_of(geometry: Any, left_out: Counter[Kind]) -> Iterator[Rings]:
    """Yield the coordinates of each polygon of a geometry, and count what else it holds.

    Raises:
        InputError: it is not a geometry of GeoJSON.
    """
    if geometry is None:
        left_out[_NO_GEOMETRY] += 1
        return
    if not isinstance(geometry, dict):
        raise InputError(f"not GeoJSON: {geometry!r:.40} stands where a geometry belongs")
    kind = str(geometry.get("type"))
    parts = geometry.get("geometries" if kind == "GeometryCollection" else "coordinates")
    if kind in WITHOUT_AREA:
        left_out[WITHOUT_AREA[kind]] += 1
    elif kind not in ("Polygon", "MultiPolygon", "GeometryCollection"):
        keys = "" if "type" in geometry else f"; it holds {', '.join(map(str, geometry)) or 'nothing'}"
        raise InputError(f"not GeoJSON: a geometry has the type {kind!r:.40}, not Polygon or MultiPolygon{keys:.80}")
    elif not isinstance(parts, list):
        raise InputError(f"not GeoJSON: a {kind} holds no list")
    elif kind == "GeometryCollection":
        for part in parts:
            yield from _polygons_of(part, left_out)
    elif not parts:  # an empty geometry
        left_out[_NO_GEOMETRY] += 1
    else:
        yield from [parts] if kind == "Polygon" else parts


def count_kinds(kinds: Kinds) -> str:
    """Spell ``2 lines, 1 point``."""
    return ", ".join(f"{count} {one if count == 1 else several}" for (one, several), count in sorted(kinds.items()))


def describe_no_area(left_out: Kinds) -> str:
    """Say that nothing has an area, and what the file holds instead."""
    held = f"only {count_kinds(left_out)}" if left_out else "nothing"
    return f"no outline has an area, it holds {held}; draw an area and export it as GeoJSON"
