"""What no reader should open, though some reader would."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile

from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.location import is_remote, open_bytes
from wsi_segment.inference.slides.readers.tiff import open_tiff, refuse_parts

LARGEST_TILE_BYTES = 64 << 20
"""A tile or strip is decoded whole; a file of a few hundred KiB can hold one of gigabytes."""

_COLOUR = (2, 6)
"""TIFF's PhotometricInterpretation: RGB, YCbCr."""
_ALPHA = (1, 2)
"""TIFF's ExtraSamples: associated and unassociated alpha."""


def refuse_unsupported(path: Path) -> None:
    """Say clearly what an image is that is no whole 8-bit RGB image, before a reader shows it as one.

    Raises:
        SlideError: the slide is fluorescence, or has another name than its format has; or of a TIFF: the file is cut
            off, is one of several, its largest page is not 8-bit RGB, or it must be decoded in pieces too large.
    """
    if not is_remote(path):
        _refuse_disguised(path)
    if path.suffix.lower() == ".mrxs" and not is_remote(path):
        _refuse_fluorescence(path)
        return
    with ExitStack() as stack:
        try:
            source = stack.enter_context(open_bytes(path)) if is_remote(path) else path
            tiff = stack.enter_context(open_tiff(source))
        except Exception:
            return
        _refuse_cut_off(path, tiff)
        refuse_parts(path, tiff)
        try:
            series = tiff.series[0]
            page: Any = series.levels[0].keyframe
        except Exception:
            return
        _refuse_other_than_rgb(path, page, dict(zip(series.axes, series.shape, strict=True)))
        if not tiff.is_ndpi:  # whose single strip is a JPEG with marks to begin at
            _refuse_large_pieces(path, series)


def _refuse_disguised(path: Path) -> None:
    """OpenSlide knows Hamamatsu's key files, which name others, by their content; their names are what is checked."""
    if path.suffix.lower() in (".vms", ".vmu"):
        return
    with path.open("rb") as file:
        if file.read(2) in (b"II", b"MM"):  # TIFF, NDPI among it
            return
    if openslide.OpenSlide.detect_format(path) == "hamamatsu":
        raise SlideError(f"{path}: a Hamamatsu key file under a name of something else; let it end in .vms or .vmu")


def _refuse_fluorescence(path: Path) -> None:
    """A MIRAX slide says what it is in a file beside it; its channels look like RGB to a reader."""
    try:
        facts = (path.with_suffix("") / "Slidedat.ini").read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return
    if "SLIDE_TYPE_FLUORESCENCE" in facts:
        raise SlideError(f"{path}: a fluorescence slide; only bright-field slides work")


def _refuse_cut_off(path: Path, tiff: tifffile.TiffFile) -> None:
    """Follow the chain of pages: libraries silently leave out those that lie beyond the file's end."""
    if tiff.is_ndpi:  # its offsets are of a kind of their own
        return
    file, form = tiff.filehandle, tiff.tiff
    offset, seen = (8 if form.is_bigtiff else 4), set()
    file.seek(offset)
    offset = struct.unpack(form.offsetformat, file.read(form.offsetsize))[0]
    while offset and offset not in seen:
        seen.add(offset)
        try:
            file.seek(offset)
            tags = struct.unpack(form.tagnoformat, file.read(form.tagnosize))[0]
            file.seek(offset + form.tagnosize + tags * form.tagsize)
            offset = struct.unpack(form.offsetformat, file.read(form.offsetsize))[0]
        except (struct.error, ValueError, OSError):
            raise SlideError(
                f"{path}: the file is cut off: it has {file.size} bytes, a page lies at {offset}; copy it again"
            ) from None


def _refuse_other_than_rgb(path: Path, page: Any, lengths: dict[str, int]) -> None:
    if page.dtype is None:
        return
    if page.dtype != np.uint8:
        raise SlideError(f"{path}: pixels are {page.dtype}, not 8-bit RGB; fluorescence and 16-bit images do not work")
    stacked = {axis: length for axis, length in lengths.items() if axis in "CZTIQ" and length > 1}
    if stacked or page.samplesperpixel not in (3, 4):
        kind = ", ".join(f"{axis} = {length}" for axis, length in stacked.items()) or f"{page.samplesperpixel} channel"
        raise SlideError(f"{path}: not an RGB image ({kind}); multi-channel images and stacks do not work")
    extra = [int(kind) for kind in page.extrasamples]
    if int(page.photometric) not in _COLOUR or (page.samplesperpixel == 4 and extra and extra[0] not in _ALPHA):
        raise SlideError(f"{path}: colours are {page.photometric.name}, not RGB; convert it to RGB")


def _refuse_large_pieces(path: Path, series: Any) -> None:
    for level in series.levels:
        page = level.keyframe
        if page.is_tiled:
            rows, columns = page.tilelength, page.tilewidth
        else:
            rows, columns = min(page.rowsperstrip, page.imagelength), page.imagewidth
        size = rows * columns * page.samplesperpixel
        if size > LARGEST_TILE_BYTES:
            raise SlideError(
                f"{path}: is stored in pieces of {size >> 20} MiB, of which at most {LARGEST_TILE_BYTES >> 20} are "
                "decoded at once; convert it to a tiled pyramidal TIFF"
            )
