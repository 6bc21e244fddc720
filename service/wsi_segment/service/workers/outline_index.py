"""The outlines of a finished mask on disk: one feature per line, and an index by place and class."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_segment.files import replacing
from wsi_segment.inference.mask.geojson import features
from wsi_segment.inference.mask.mask import Mask

LINES_FILE, INDEX_FILE = "objects.geojsonl", "objects.index.npy"

INDEX = np.dtype(
    [
        *((name, "<f8") for name in ("x0", "y0", "x1", "y1")),
        ("class", "<u1"),
        ("start", "<i8"),
        ("bytes", "<i4"),
        ("area", "<f8"),
    ]
)
"""Bounds in level-0 pixels from the corner of the slide's bounds, class, place of the feature's line, and µm²."""

_CHUNK = 1 << 16
_AREA = re.compile(rb'"Area um\^2": ?([0-9.eE+-]+)')


def write_objects(folder: Path, store: Path, step: Callable[[], None] = lambda: None) -> int:
    """Outline a finished mask; the index appears last, when everything is complete.

    Other processes may write or read the same outlines at the same time: a file with a final name is complete.

    Args:
        folder: Where both files are written.
        store: The mask.
        step: Called after each outline; may raise to stop.

    Returns:
        The number of outlines.
    """
    mask = Mask.open(store)
    folder.mkdir(parents=True, exist_ok=True)
    ids = {entry.name.replace(":", " -"): entry.id for entry in mask.classes}
    rows: list[tuple[float, float, float, float, int, int, int, float]] = []
    start = 0
    with replacing(folder / LINES_FILE, shared=True) as file:
        for feature in features(mask):
            line = json.dumps(feature, allow_nan=False, separators=(",", ":")).encode()
            file.write(line + b"\n")
            points = np.asarray(feature["geometry"]["coordinates"][0])
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            class_id = ids[feature["properties"]["classification"]["name"]]
            rows.append((x0, y0, x1, y1, class_id, start, len(line), area_in(line)))
            start += len(line) + 1
            step()
    buffer = io.BytesIO()  # numpy's own writing to a file does not tell a full disk from other errors
    np.save(buffer, np.array(rows, INDEX))
    with replacing(folder / INDEX_FILE, shared=True) as file:
        file.write(buffer.getbuffer())
    return len(rows)


def area_in(line: bytes) -> float:
    """Return the area of a feature in µm², as its line states it."""
    found = _AREA.search(line)
    return 0.0 if found is None else float(found[1])


def largest_objects(folder: Path, class_ids: set[int] | None, start: int, count: int) -> tuple[NDArray[np.void], int]:
    """Return some index rows of the objects of some classes, the largest first, and how many objects there are."""
    rows = find_objects(folder, None, class_ids)
    if "area" not in (rows.dtype.names or ()):  # of an earlier version
        rows = _with_areas(folder, rows)
    order = np.argsort(-rows["area"], kind="stable")
    return rows[order[start : start + count]], len(rows)


def _with_areas(folder: Path, rows: NDArray[np.void]) -> NDArray[np.void]:
    made = np.zeros(len(rows), INDEX)
    for name in rows.dtype.names or ():
        made[name] = rows[name]
    with (folder / LINES_FILE).open("rb") as file:
        for row in made:
            file.seek(int(row["start"]))
            row["area"] = area_in(file.read(int(row["bytes"])))
    return made


def has_objects(folder: Path) -> bool:
    """Return whether the outlines are complete."""
    return (folder / INDEX_FILE).is_file()


def find_objects(
    folder: Path, bbox: tuple[float, float, float, float] | None = None, class_ids: set[int] | None = None
) -> NDArray[np.void]:
    """Return the index rows of objects of some classes whose bounds meet a box (x0, y0, x1, y1)."""
    index: NDArray[np.void] = np.load(folder / INDEX_FILE, mmap_mode="r", allow_pickle=False)
    keep = np.ones(len(index), bool)
    if bbox is not None:
        x0, y0, x1, y1 = bbox
        keep &= (index["x0"] <= x1) & (index["x1"] >= x0) & (index["y0"] <= y1) & (index["y1"] >= y0)
    if class_ids is not None:
        keep &= np.isin(index["class"], sorted(class_ids))
    found: NDArray[np.void] = np.asarray(index[keep])
    return found


def stream_objects(folder: Path, rows: NDArray[np.void]) -> Iterator[bytes]:
    """Yield a GeoJSON feature collection of some objects in pieces of about 64 KiB."""
    piece = bytearray(b'{"type": "FeatureCollection", "features": [')
    with (folder / LINES_FILE).open("rb") as file:
        for number, row in enumerate(rows):
            piece += b",\n" if number else b"\n"
            file.seek(int(row["start"]))
            piece += file.read(int(row["bytes"]))
            if len(piece) >= _CHUNK:
                yield bytes(piece)
                piece.clear()
    yield bytes(piece + b"\n]}\n")
