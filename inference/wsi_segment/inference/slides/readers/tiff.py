"""TIFF files: parsed once, without the files that they name, and the images that their directories make up."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import tifffile

from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.readers.pixel_size import OME_SIZE, from_aperio, from_ome, from_tags
from wsi_segment.inference.slides.slide import PixelSize, is_plausible

ALONE: dict[str, Any] = {"_multifile": False, "is_mmstack": False, "is_ndtiff": False}
"""Options of tifffile by which it opens no other file: parts of OME-TIFF, and of Micro-Manager's two formats."""

NOT_COMPRESSED = 1
"""TIFF's Compression."""
_MASK = 4
"""Bit of TIFF's NewSubfileType."""
_ASSOCIATED = re.compile(
    r"^(aperio[^\n]*\n)?\W*(label|macro|thumbnail|thumb|overview|barcode|map)( image| \d+x\d+.*)?\W*$", re.IGNORECASE
)
"""Names and descriptions of pictures that accompany a slide: of OME-TIFF, Aperio, Ventana, QPTIFF."""
_QPTIFF_KIND = re.compile(r"<ImageType>\s*(label|overview|thumbnail)\s*</ImageType>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TiffImage:
    """One picture in a TIFF."""

    name: str
    """As OME-XML or the description says it; may be empty."""
    pages: tuple[Any, ...]
    """The directory of the picture and those that could be its coarser levels, finest first."""
    lengths: tuple[tuple[str, int], ...] = ()
    """Axes of OME-XML beside x, y and colour that are longer than 1."""
    ome: Any = None
    """Its ``Pixels`` element of OME-XML."""

    @property
    def width(self) -> int:
        """Columns of the finest level."""
        return int(self.pages[0].imagewidth)

    @property
    def height(self) -> int:
        """Rows of the finest level."""
        return int(self.pages[0].imagelength)

    @property
    def is_associated(self) -> bool:
        """Whether its name says that it is a label, a macro or a thumbnail."""
        return bool(_ASSOCIATED.match(self.name.strip()) or _QPTIFF_KIND.search(self.pages[0].description[:4096]))

    @property
    def stated_sizes(self) -> list[PixelSize]:
        """Every statement of its pixel size in the order in which they count.

        OME-XML that states one side only comes after tags that state both.
        """
        page = self.pages[0]
        description = page.description or ""
        ome, tags = None if self.ome is None else from_ome(self.ome), from_tags(page, description)
        found = [ome, *from_aperio(description)[:1], tags, *from_aperio(description)[1:]]
        if ome is not None and ome.source != OME_SIZE and tags is not None and is_plausible(tags):
            found = [*found[1:], ome]
        return [size for size in found if size is not None]

    def __str__(self) -> str:
        name = " ".join(self.name.split())
        return f"{self.width} x {self.height} px{f' ({name:.40})' if name else ''}"


def open_tiff(source: Path | IO[bytes], **flags: Any) -> tifffile.TiffFile:
    """Parse a TIFF, and nothing beside it; ``flags`` are tifffile's ``is_...``, where a name would mislead it.

    Directories that have been parsed are kept, since each question about the file goes through all of them.
    """
    tiff = tifffile.TiffFile(source, **ALONE, **flags)
    tiff.pages.cache = True
    return tiff


def find_images(tiff: tifffile.TiffFile) -> tuple[TiffImage, ...]:
    """List the images of a TIFF in their order: those of OME-XML, then of the directories that it does not name.

    A SubIFD that is larger than its directory, as under a thumbnail, is an image of its own, after the others. A
    directory that has the proportions of a larger one may be a level of it; whether it shows the same picture is
    for :func:`~wsi_segment.inference.slides.readers.levels.shows_the_same` to say.
    """
    tops = [page.aspage() for page in tiff.pages]
    found = list(_ome_images(tiff.ome_metadata or "", tops)) if tiff.is_ome else []
    images = tuple(image for image, _ in found)
    named = {number for _, numbers in found for number in numbers}
    tops = [page for number, page in enumerate(tops) if number not in named]
    larger = [below for page in tops for below in _below(page) if _area(below) > _area(page)]
    return images + tuple(
        TiffImage(_name_of(page), (page, *_levels_below(page)), _planes_of(page))
        for page in (*tops, *larger)
        if not _is_mask(page)
    )


def _ome_images(xml: str, tops: list[Any]) -> Iterator[tuple[TiffImage, set[int]]]:
    """Yield images of OME-XML, each with the first of its planes, and the directories that its planes can take."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return
    for image in root.iterfind("{*}Image"):
        pixels = image.find("{*}Pixels")
        if pixels is None or not 0 <= (number := _first_directory(pixels)) < len(tops):
            continue
        page = tops[number]
        lengths = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "CZT"}
        lengths["C"] //= max(1, page.samplesperpixel)
        longer = tuple((axis, length) for axis, length in lengths.items() if length > 1)
        planes = set(range(number, min(len(tops), number + math.prod(length for _, length in longer))))
        planes |= {int(part.get("IFD", number)) for part in pixels.iterfind("{*}TiffData")}
        yield TiffImage(image.get("Name", ""), (page, *_levels_below(page)), longer, pixels), planes


def _first_directory(pixels: Any) -> int:
    """Return the number of the directory in which an image of OME-XML begins."""
    first = pixels.find("{*}TiffData")
    return 0 if first is None else int(first.get("IFD", 0))


def _levels_below(page: Any) -> list[Any]:
    """Return the SubIFDs of a directory that can be its levels, largest first."""
    return sorted((part for part in _below(page) if could_be_level(page, part)), key=_area, reverse=True)


def _below(page: Any) -> list[Any]:
    """Return the SubIFDs of a directory."""
    return [part.aspage() for part in page.pages or ()]


def has_proportions_of(fine: Any, coarse: Any) -> bool:
    """Return whether a directory is smaller than another one, and as wide for its height; sizes are rounded."""
    if not (coarse.imagewidth and coarse.imagelength):
        return False
    across, down = fine.imagewidth / coarse.imagewidth, fine.imagelength / coarse.imagelength
    shorter = min(coarse.imagewidth, coarse.imagelength)
    return min(across, down) > 1.05 and bool(abs(across - down) * shorter <= 2 * max(across, down))


def could_be_level(fine: Any, coarse: Any) -> bool:
    """Return whether a directory has the form of a coarser level of another one: proportions, samples, tiles."""
    return (
        has_proportions_of(fine, coarse)
        and (coarse.samplesperpixel, coarse.dtype) == (fine.samplesperpixel, fine.dtype)
        and (coarse.is_tiled or not fine.is_tiled)
        and not _is_mask(coarse)
    )


def _area(page: Any) -> int:
    return int(page.imagewidth * page.imagelength)


def _is_mask(page: Any) -> bool:
    """Return whether a directory is a transparency mask of another one."""
    return bool(page.subfiletype & _MASK)


def _name_of(page: Any) -> str:
    description = page.description or ""
    return description if len(description) <= 200 else ""


def _planes_of(page: Any) -> tuple[tuple[str, int], ...]:
    """Read from ImageJ's or tifffile's description whether more planes follow the one that a directory points to."""
    planes = 1
    if page.is_imagej and (stated := re.search(r"^images=(\d+)", page.description, re.MULTILINE)):
        planes = int(stated[1])
    elif page.is_shaped and (shape := json.loads(page.shaped_description).get("shape")):
        planes = math.prod(shape) // max(1, page.imagewidth * page.imagelength * page.samplesperpixel)
    return (("I", planes),) if planes > 1 else ()


def refuse_parts(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose OME-XML does not say which of its own pixels an image has.

    Raises:
        SlideError: planes lie in other files, all is left to another file, or several images begin in one directory.
    """
    try:
        root = ElementTree.fromstring(tiff.ome_metadata or "")
    except ElementTree.ParseError:
        return
    parts = root.findall(".//{*}TiffData/{*}UUID")
    own = {root.get("UUID")} - {None}
    if len(own | {part.text for part in parts}) > 1:
        raise SlideError(f"{path}: its image is spread over several files; convert it to one pyramidal TIFF")
    binary = root.find("{*}BinaryOnly")
    elsewhere = None if binary is None else binary.get("MetadataFile")
    if not own:  # with an identifier of its own a file may have been renamed
        named = [part.get("FileName") for part in parts]
        elsewhere = elsewhere or next((name for name in named if name not in (None, path.name)), None)
    if elsewhere is not None:
        raise SlideError(
            f"{path}: its OME-XML says that the image is part of, or lies in, {elsewhere}; convert it to one pyramidal "
            "TIFF"
        )
    try:
        starts = Counter(_first_directory(pixels) for pixels in root.iterfind("{*}Image/{*}Pixels"))
    except ValueError as error:
        raise SlideError(f"{path}: its OME-XML names a directory that is no number: {error}; write it again") from error
    if starts and (shared := starts.most_common(1)[0])[1] > 1:
        raise SlideError(
            f"{path}: its OME-XML has {shared[1]} images that begin in the same directory ({shared[0]}), so that their "
            "pixels and pixel sizes cannot be told apart; write the OME-TIFF again with TiffData of each image"
        )
