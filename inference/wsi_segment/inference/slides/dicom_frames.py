"""What a reader would do wrong with the frames of DICOM images, found by their headers before it gets them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, BinaryIO

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.slides.dicom import QUIET, DicomFile
from wsi_segment.inference.slides.readers.encoded_colours import states_ycbcr

_JPEG = "1.2.840.10008.1.2.4.50"
"""Transfer syntax of frames in JPEG of 8 bits."""
_TAGS = [
    "NumberOfFrames", "PhotometricInterpretation", "Rows", "Columns", "TotalPixelMatrixColumns", "TotalPixelMatrixRows",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_HEAD = 1 << 16
"""Bytes of a frame in which its JPEG says what its colours are."""


def refuse_misread(images: Sequence[DicomFile]) -> None:
    """Refuse images of which a reader would show something else than their writer meant.

    Frames that do not say where they lie (DICOM PS3.3, C.7.6.17.3), in any organization but TILED_FULL, would be left
    out. Of two frames for one place, as several optical paths have them, OpenSlide 4.0.1 shows one. Frames in JPEG are
    converted as PhotometricInterpretation says, even where the JPEG says otherwise.

    Raises:
        SlideError: an image is of one of these kinds.
    """
    for image in images:
        status = image.path.stat()
        problem = _problem_of(image, status.st_size, status.st_mtime_ns)
        if problem is not None:
            raise SlideError(f"{image.path}: {problem}")


@lru_cache(maxsize=4096)
def _problem_of(image: DicomFile, size: int, changed: int) -> str | None:
    """Look at the frames of an image; a file that has not changed is read once."""
    import pydicom

    full = image.organization == "TILED_FULL"
    tags: list[Any] = list(_TAGS[:-1] if full else _TAGS)
    try:
        with QUIET, warnings.catch_warnings(), image.path.open("rb") as file:
            warnings.simplefilter("ignore")
            read = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
            is_jpeg = str(read.file_meta.get("TransferSyntaxUID", "")) == _JPEG
            ycbcr = states_ycbcr(_first_frame(file)) if is_jpeg else None
        frames = int(read.get("NumberOfFrames", 1) or 1)
        places = [_place_of(one) for one in read.get("PerFrameFunctionalGroupsSequence") or ()]
        tiles, stated = _tiles_of(read), str(read.get("PhotometricInterpretation", ""))
        width, height = (int(read.get(f"TotalPixelMatrix{side}") or 0) for side in ("Columns", "Rows"))
    except Exception as error:  # pydicom raises errors of many kinds for damaged files
        return f"its list of frames cannot be read ({error}); copy it again"
    placed = sum(place is not None for place in places)
    if placed < frames and not full and (image.organization or placed):  # OpenSlide takes none and "" for TILED_FULL
        asked = f"as {image.organization} asks" if image.organization else "as others do"
        return f"{frames - placed} of its frames do not say where they lie, {asked}; convert it to TILED_FULL"
    for number, place in enumerate(places if width and height else (), start=1):
        if place is not None and not (0 < place[0] <= width and 0 < place[1] <= height):
            return (
                f"its frame {number} lies at column {place[0]}, row {place[1]}, outside of its {width} x {height} px, "
                "where positions count from 1; copy it again, or write it again with right positions"
            )
    twice = [place for place, count in Counter(places).items() if place is not None and count > 1]
    if image.kind == "VOLUME" and tiles and (frames > tiles or twice):
        shared = f", several for the one at {twice[0]}" if twice else ""
        return (
            f"has {frames} frames for {tiles} places{shared}: several optical paths or focal planes; one of them is "
            "needed in a file of its own"
        )
    if ycbcr is not None and ycbcr == (stated == "RGB"):
        meant = "YCbCr" if ycbcr else "RGB"
        return f"its header says {stated}, its JPEG frames {meant}; correct PhotometricInterpretation"
    return None


def _tiles_of(read: Any) -> int:
    """Return how many tiles an image has, 0 where that is not stated."""
    sides = [read.get(name) or 0 for name in ("TotalPixelMatrixColumns", "Columns", "TotalPixelMatrixRows", "Rows")]
    if not all(sides):
        return 0
    return ceil_div(int(sides[0]), int(sides[1])) * ceil_div(int(sides[2]), int(sides[3]))


def _place_of(frame: Any) -> tuple[int, int] | None:
    """Return column and row of a frame in the whole pixel matrix, counted from 1; None where it states none."""
    stated = frame.get("PlanePositionSlideSequence")
    if not stated:
        return None
    names = ("ColumnPositionInTotalImagePixelMatrix", "RowPositionInTotalImagePixelMatrix")
    column, row = (stated[0].get(name) for name in names)
    return None if column is None or row is None else (int(column), int(row))


def _first_frame(file: BinaryIO) -> bytes:
    """Return the beginning of the first frame of encapsulated pixels; the file stands before them."""
    element = file.read(12)
    if element[:4] != b"\xe0\x7f\x10\x00":
        return b""
    offsets = file.read(8)  # an item, often empty, that lists where frames begin
    file.seek(int.from_bytes(offsets[4:8], "little"), 1)
    file.read(8)
    return file.read(_HEAD)
