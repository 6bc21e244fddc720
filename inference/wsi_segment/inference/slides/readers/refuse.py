"""What no reader should open, though some reader would."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.slides.readers.encoded_colours import RGB, YCBCR
from wsi_segment.inference.slides.readers.tiff import NOT_COMPRESSED, TiffImage

LARGEST_TILE_BYTES = 64 << 20
"""A tile or strip is decoded whole; a file of a few hundred KiB can hold one of gigabytes."""

_HEADER_BYTES = 8
"""Of a TIFF; a BigTIFF's is longer."""
_ALPHA = (1, 2)
"""TIFF's ExtraSamples: associated and unassociated alpha."""
_PACKBITS = 32773
"""TIFF's Compression, beside ``NOT_COMPRESSED``."""
_NUMBERS = (
    "imagewidth", "imagelength", "tilewidth", "tilelength", "rowsperstrip", "samplesperpixel", "compression",
    "photometric", "planarconfig", "predictor", "subfiletype",
)  # fmt: skip
"""What is one number in every directory, as tifffile calls it."""
_BYTE_COUNTS = (325, 279, 514)
"""Tags of the sizes of tiles, strips and old JPEG; for several pieces without any tifffile makes up one size."""
_CONVERTING = {6, 7, 33003, 33005, 33007, 34712, 34892, 50001, 50002}
"""Compressions whose decoders turn YCbCr into RGB: JPEG's, JPEG 2000's, WebP, JPEG XL."""


def refuse_overview(file: Path) -> None:
    """Refuse the VSI files of Olympus and Evident: TIFF of a label and an overview, with the pixels in other files."""
    if file.suffix.lower() == ".vsi":
        raise SlideError(
            f"{file}: a VSI file holds an overview of the slide, whose pixels lie in .ets files that no reader here "
            "opens; convert it to a pyramidal OME-TIFF"
        )


def refuse_disguised(file: Path) -> None:
    """Refuse Hamamatsu's key files, which name others, under a name of something else.

    OpenSlide knows them by their content; their names are what is checked.
    """
    if file.suffix.lower() in (".vms", ".vmu"):
        return
    with file.open("rb") as content:
        if content.read(2) in (b"II", b"MM"):  # TIFF, NDPI among it
            return
    if openslide.OpenSlide.detect_format(file) == "hamamatsu":
        raise SlideError(f"{file}: a Hamamatsu key file under a name of something else; let it end in .vms or .vmu")


def refuse_fluorescence(file: Path) -> None:
    """Refuse a MIRAX slide that says in a file beside it what it is; its channels look like RGB to a reader."""
    try:
        facts = (file.with_suffix("") / "Slidedat.ini").read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return
    if "SLIDE_TYPE_FLUORESCENCE" in facts:
        raise SlideError(f"{file}: a fluorescence slide; only bright-field slides work")


def refuse_cut_off(path: Path, tiff: tifffile.TiffFile) -> None:
    """Follow the chain of pages: libraries silently leave out those beyond the file's end, or go round in a circle.

    Raises:
        SlideError: a page lies beyond the file's end, or one follows on itself.
    """
    stop, ended = _last_page(tiff)
    if not ended:
        raise SlideError(
            f"{path}: the file is cut off: it has {tiff.filehandle.size} bytes, a page lies at {stop}; copy it again"
        )
    if stop:
        raise SlideError(f"{path}: the file is damaged: its pages follow each other in a circle; copy it again")


def refuse_odd_tags(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file that gives several numbers, or text, where a directory has one number.

    Raises:
        SlideError: it does.
    """
    try:
        pages: list[Any] = [one.aspage() for one in tiff.pages]
    except Exception:  # a directory that only OpenSlide can read; otherwise it is said where images are looked for
        return
    for number, page in enumerate(pages):
        for name in _NUMBERS:
            if not isinstance(getattr(page, name), int):
                raise SlideError(
                    f"{path}: {name} of directory {number} is {getattr(page, name)!s:.40}, not a number; the file "
                    "is damaged, copy it again"
                )


def goes_in_a_circle(tiff: tifffile.TiffFile) -> bool:
    """Return whether the chain of pages comes back to one of them, where libraries would go on for ever."""
    stop, ended = _last_page(tiff)
    return ended and bool(stop)


def _last_page(tiff: tifffile.TiffFile) -> tuple[int, bool]:
    """Return the offset at which the chain of pages stops, and whether it can be read; 0 where it ends as it should."""
    if tiff.is_ndpi:  # its offsets are of a kind of their own
        return 0, True
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
            return offset, False
    return offset, True


def problem_of(picture: TiffImage) -> str | None:
    """Say why a picture of a TIFF cannot be segmented; None where it can.

    It must be 8-bit RGB (YCbCr where the compression converts it), with or without alpha, one plane, upright, in
    pieces that can be decoded one by one.
    """
    page = picture.pages[0]
    return (
        damage_of(page)
        or _other_than_rgb(page, picture.lengths)
        or _turned(page)
        or _predicted(page)
        or _other_than_ome(picture)
        or next(filter(None, map(misplaced, picture.pages)), None)
        or next(filter(None, map(too_large, picture.pages)), None)
    )


def damage_of(page: Any) -> str | None:
    """Say that the size of a directory's picture is not that of its pixels, by which readers cut it into tiles."""
    if not (page.imagewidth and page.imagelength):
        return f"claims to have {page.imagewidth} x {page.imagelength} px; the file is damaged, copy it again"
    pieces, planes = _pieces(page), page.samplesperpixel if page.planarconfig == 2 else 1
    wanted, kind = pieces * page.imagedepth * planes, "tiles" if page.is_tiled else "strips"
    listed, tag = len(page.dataoffsets), page.tags.get("TileOffsets" if page.is_tiled else "StripOffsets")
    if (stated := listed if tag is None else tag.count) > wanted:  # of strips tifffile cuts the list
        return f"has {stated} {kind}, its size asks for {wanted}; the file is damaged, copy it again"
    if len(page.databytecounts) < wanted and not any(tag in page.tags for tag in _BYTE_COUNTS):
        name = "TileByteCounts" if page.is_tiled else "StripByteCounts"
        return f"lacks {name}, the sizes of its {wanted} {kind}; write it again"
    if (fewest := min(listed, len(page.databytecounts))) < wanted:  # those that a file leaves out are listed too
        return f"says where {fewest} of its {wanted} {kind} lie; the file is damaged, copy it again"
    if not np.any(page.databytecounts):
        return f"holds no pixels: its {wanted} {kind} are said to have 0 bytes; write it again"
    return None


def _pieces(page: Any) -> int:
    """Return the number of tiles or strips that a plane of a picture needs."""
    if not page.is_tiled:
        return ceil_div(page.imagelength, max(1, min(page.rowsperstrip, page.imagelength)))
    return ceil_div(page.imagewidth, max(1, page.tilewidth)) * ceil_div(page.imagelength, max(1, page.tilelength))


def misplaced(page: Any) -> str | None:
    """Say that bytes of something else would be shown as a directory's picture; None where nothing tells."""
    known = min(len(page.dataoffsets), len(page.databytecounts))
    counts = np.asarray(page.databytecounts[:known], np.int64)
    offsets = np.asarray(page.dataoffsets[:known], np.int64)
    within = np.flatnonzero((offsets < _HEADER_BYTES) & (counts > 0))
    if len(within):
        return f"tile {within[0]} lies in the file's header, where nothing can lie; the file is damaged, copy it again"
    if page.compression != NOT_COMPRESSED:
        return None
    order = np.lexsort((counts, offsets))
    order = order[counts[order] > 0]
    starts, ends = offsets[order], (offsets + counts)[order]
    lapped = np.flatnonzero((ends[:-1] > starts[1:]) & (starts[:-1] != starts[1:]))  # two of one place are alike
    if len(lapped):
        first, second = sorted(int(index) for index in order[lapped[0] : lapped[0] + 2])
        return f"tiles {first} and {second} overlap in the file; it is damaged, copy it again"
    return None


def _other_than_ome(picture: TiffImage) -> str | None:
    """Of an image that is stated at another size the pixel size is that of other pixels."""
    if picture.ome is None:
        return None
    stated = picture.ome.get("SizeX"), picture.ome.get("SizeY")
    if stated == (str(picture.width), str(picture.height)):
        return None
    return (
        f"its OME-XML is about {stated[0]} x {stated[1]} px, the picture has {picture.width} x {picture.height}; write "
        "the OME-TIFF again"
    )


def _other_than_rgb(page: Any, lengths: tuple[tuple[str, int], ...]) -> str | None:
    bits = page.bitspersample
    if page.dtype != np.uint8 or bits != 8:
        kind = page.dtype if bits in (8, 16, 32, 64) else f"{bits}-bit"
        return f"pixels are {kind}, not 8-bit RGB; fluorescence and 16-bit images do not work"
    if lengths or page.samplesperpixel not in (3, 4) or page.imagedepth > 1:
        kind = ", ".join(f"{axis} = {length}" for axis, length in lengths) or f"{page.samplesperpixel} channel"
        return f"not an RGB image ({kind}); multi-channel images and stacks do not work"
    colours, extra = int(page.photometric), [int(kind) for kind in page.extrasamples]
    converts = page.compression in _CONVERTING and page.planarconfig == 1
    if not (colours == RGB or (colours == YCBCR and converts)):
        return f"colours are {getattr(page.photometric, 'name', colours)}, not RGB; convert it to RGB"
    if page.planarconfig not in (1, 2):
        return f"its PlanarConfiguration is {int(page.planarconfig)}, not 1 or 2; the file is damaged, copy it again"
    if page.samplesperpixel == 4 and (not extra or extra[0] not in _ALPHA):
        return "it has a fourth channel that it does not call alpha; convert it to RGB"
    return None


def _turned(page: Any) -> str | None:
    """Readers disagree on Orientation: some turn the picture, some each tile, some nothing."""
    orientation = page.tags.valueof("Orientation", 1)
    if orientation == 1:
        return None
    return (
        f"its Orientation tag is {int(orientation)}, which viewers follow or ignore, so that a mask would lie "
        "elsewhere in some of them; turn the picture and write it with Orientation 1"
    )


def _predicted(page: Any) -> str | None:
    """TIFF 6.0 (page 64) has Predictor for compressed pixels; elsewhere tifffile follows the tag, libtiff does not."""
    if int(page.predictor) <= 1 or page.compression not in (NOT_COMPRESSED, _PACKBITS):
        return None
    return (
        f"its Predictor tag is {int(page.predictor)}, which without LZW or the like some readers follow and others "
        "ignore; write it again without that tag"
    )


def too_large(page: Any) -> str | None:
    """Say that a directory's tiles or strips cannot be decoded one by one in bounded memory."""
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        rows, columns = min(page.rowsperstrip, page.imagelength), page.imagewidth
    size = rows * columns * page.samplesperpixel
    if size <= LARGEST_TILE_BYTES:
        return None
    return (
        f"is stored in pieces of {size >> 20} MiB, of which at most {LARGEST_TILE_BYTES >> 20} are "
        "decoded at once; convert it to a tiled pyramidal TIFF"
    )
