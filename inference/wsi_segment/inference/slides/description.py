"""Everything that a slide file says of itself, and what would be made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from wsi_segment.errors import SlideError
from wsi_segment.files import is_there, printable
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.candidate import GENERIC, Candidate, SlideImage
from wsi_segment.inference.slides.dicom import dicom_files, is_dicom
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers.image import SUFFIXES
from wsi_segment.inference.slides.readers.pixel_size import OPENSLIDE, from_power, number
from wsi_segment.inference.slides.readers.refuse import goes_in_a_circle
from wsi_segment.inference.slides.readers.tiff import TiffImage
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide, pixel_size_of
from wsi_segment.inference.slides.slide_files import slide_files

_ORIENTATIONS = {
    1: "as stored", 2: "mirrored left to right", 3: "turned by 180 degrees", 4: "mirrored top to bottom",
    5: "mirrored along the diagonal", 6: "turned by 90 degrees", 7: "mirrored along the other diagonal",
    8: "turned by 270 degrees",
}  # fmt: skip
"""What TIFF's Orientation (tag 274) asks of viewers, turns clockwise."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One picture in a file."""

    number: int
    """Number, as `image` counts them."""
    name: str
    role: str
    """slide, level, label, or another word of the file."""
    width: int
    height: int
    """Pixels as stored."""
    levels: tuple[tuple[int, int], ...] = ()
    """Width and height of all resolutions that show the same picture, finest first; empty where they are not known."""
    storage: str = ""
    """Compression, samples, colours, and the form of tiles or strips."""
    orientation: str = ""
    left_out: int = 0
    """Tiles or strips without bytes, of all levels; they are white."""
    pixel_sizes: tuple[PixelSize, ...] = ()
    """Every statement, in the order in which they count."""
    icc_profile_bytes: int = 0
    problem: str | None = None
    """Why this picture cannot be segmented."""


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """One slide file, as ``wsi-segment info`` shows it."""

    slide: str
    format: str
    """Format: OpenSlide's name, DICOM, or the suffix of a plain picture."""
    files: tuple[str, ...]
    """Names of the files whose bytes make the slide."""
    beside: tuple[str, ...]
    """Other files of a DICOM folder, each with its name and kind."""
    images: tuple[ImageFacts, ...]
    reader: str | None = None
    """None where no reader opens it."""
    reader_reason: str = ""
    levels: tuple[Level, ...] = ()
    bounds: tuple[int, int, int, int] | None = None
    """x0, y0, x1, y1 of what was scanned, in level-0 pixels."""
    pixel_size: PixelSize | None = None
    """The one that is used."""
    icc_profile_bytes: int = 0
    warnings: tuple[Doubt, ...] = ()
    refused: str | None = None
    """Why the slide cannot be opened or its first pixel not be read."""
    needs: str | None = None
    """Choice without which it cannot be segmented, such as its pixel size."""


def describe(path: Path, image: int | None = None) -> SlideFacts:
    """Collect what a slide file says; a refused slide is described as far as possible.

    Args:
        path: A slide file, a DICOM folder or one of its files, or an address.
        image: See :func:`~wsi_segment.inference.slides.open.open_slide`.

    Raises:
        SlideError: there is no file to describe.
    """
    name, refused = printable(str(path)), None
    local = not is_remote(path)
    if local and not is_there(path):
        raise SlideError(f"{name}: no such file")
    try:
        files = slide_files(path)
    except SlideError as error:
        files, refused = (), str(error)
    told, images, beside = "", tuple[ImageFacts, ...](), tuple[str, ...]()
    if local and (path.is_dir() or is_dicom(path)):
        told = "DICOM"
        images, beside = _dicom(path if path.is_dir() else path.parent, files)
    elif refused is None:
        told, images = _file(path)
    slide = None
    if refused is None:
        try:
            slide = open_slide(path, image)
        except SlideError as error:
            refused = str(error)
    facts = SlideFacts(
        slide=name,
        format=told,
        files=tuple(printable(file.name) for file in files),
        beside=beside,
        images=images,
        refused=refused,
    )
    return facts if slide is None else _with_slide(facts, slide, path)


def _with_slide(facts: SlideFacts, slide: Slide, path: Path) -> SlideFacts:
    """Add what the opened slide is, and close it."""
    try:
        box, needs, refused = slide.bounds, None, None
        try:
            slide.read(0, Box(box.x0, box.y0, box.x0 + 1, box.y0 + 1))
        except SlideError as error:
            refused = str(error)
        try:
            pixel_size_of(slide, path, None)
        except SlideError as error:
            needs = str(error)
        return SlideFacts(
            slide=facts.slide,
            format=facts.format,
            files=facts.files,
            beside=facts.beside,
            images=facts.images,
            reader=slide.reader,
            reader_reason=_reason(slide.reader, facts.format),
            levels=slide.levels,
            bounds=(box.x0, box.y0, box.x1, box.y1),
            pixel_size=slide.pixel_size,
            icc_profile_bytes=len(slide.icc_profile or b""),
            warnings=slide.doubts,
            refused=refused,
            needs=needs,
        )
    finally:
        slide.close()


def _reason(reader: str, told: str) -> str:
    if reader == "pillow":
        return "a plain picture is decoded whole"
    if reader == "openslide":
        return f"OpenSlide knows the format {told}; its tiles cannot be read directly, or would give other pixels"
    if told in (GENERIC, "TIFF"):
        return "a TIFF of no vendor is read directly"
    return f"a TIFF of {told}, whose tiles give the slide's very pixels and are read directly"


def _file(path: Path) -> tuple[str, tuple[ImageFacts, ...]]:
    """Describe a file that is not DICOM: its format, and its pictures."""
    if path.suffix.lower() in SUFFIXES:
        return path.suffix.lower().removeprefix("."), ()
    try:
        candidate = Candidate.look(path)
    except SlideError:
        return "", ()
    try:
        return _looked_at(candidate)
    except Exception:  # tifffile and OpenSlide have errors of many kinds for damaged files; opening says what is wrong
        return "", ()
    finally:
        candidate.close()


def _looked_at(candidate: Candidate) -> tuple[str, tuple[ImageFacts, ...]]:
    vendor = candidate.vendor
    if candidate.tiff is not None and goes_in_a_circle(candidate.tiff):
        return "TIFF", ()
    images = [] if candidate.tiff is None else [_tiff_image(*one) for one in enumerate(candidate.images)]
    own = [one for one in images if one.role == "image"]
    if own and (vendor in (None, GENERIC) or candidate.only_direct):
        largest = max(own, key=lambda one: one.width * one.height)
        images[largest.number] = replace(largest, role="slide")
    if vendor not in (None, GENERIC) and not is_remote(candidate.path) and not candidate.only_direct:
        images = _with_openslide(candidate.file, images)
    return vendor or ("TIFF" if candidate.tiff is not None else "unknown"), tuple(images)


def _tiff_image(number: int, image: SlideImage) -> ImageFacts:
    picture, page = image.picture, image.picture.pages[0]
    pages = [reader.page for reader in image.readers] or [page]
    orientation = int(page.tags.valueof("Orientation", 1))
    return ImageFacts(
        number=number,
        name=" ".join(picture.name.split())[:80],
        role="label, macro or thumbnail" if image.is_associated else "image",
        width=picture.width,
        height=picture.height,
        levels=tuple((reader.width, reader.height) for reader in image.readers),
        storage=_storage(picture),
        orientation=f"{orientation}: {_ORIENTATIONS.get(orientation, 'unknown')}",
        left_out=sum(int((np.asarray(one.databytecounts) == 0).sum()) for one in pages),
        pixel_sizes=tuple(picture.stated_sizes),
        icc_profile_bytes=len(page.tags.valueof("InterColorProfile") or b""),
        problem=image.problem,
    )


def _storage(picture: TiffImage) -> str:
    page: Any = picture.pages[0]
    form = f"tiles of {page.tilewidth} x {page.tilelength}" if page.is_tiled else f"strips of {page.rowsperstrip} rows"
    planes = ", planes apart" if page.planarconfig == 2 else ""
    names = [getattr(value, "name", str(value)) for value in (page.compression, page.photometric)]
    return f"{names[0]}, {page.samplesperpixel} x {page.dtype} {names[1]}{planes}, {form}"


def _with_openslide(file: Path, images: list[ImageFacts]) -> list[ImageFacts]:
    """Add what OpenSlide states: which picture is the slide, its pixel size, and pictures that accompany it."""
    try:
        with openslide.OpenSlide(file) as slide:
            properties, whole = dict(slide.properties), slide.dimensions
    except openslide.OpenSlideError:
        return images
    sizes = []
    x, y = (number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if x is not None and y is not None:
        sizes.append(PixelSize(x, y, OPENSLIDE))
    if (power := from_power(properties.get("openslide.objective-power"))) is not None:
        sizes.append(power)
    main = next((one for one in images if (one.width, one.height) == whole), None)
    if main is None:
        images = [*images, ImageFacts(len(images), "", "slide", *whole, pixel_sizes=tuple(sizes))]
    else:
        more = tuple(size for size in main.pixel_sizes if size not in sizes)
        images = [replace(one, role="slide", pixel_sizes=(*sizes, *more)) if one is main else one for one in images]
    for key in sorted(properties):
        if key.startswith("openslide.associated.") and key.endswith(".width"):
            name = key.split(".")[2]
            size = int(properties[key]), int(properties[f"openslide.associated.{name}.height"])
            same = next((one for one in images if (one.width, one.height) == size and one is not main), None)
            if same is None:
                images = [*images, ImageFacts(len(images), name, name, *size)]
            else:
                images = [replace(one, role=name) if one is same else one for one in images]
    return images


def _dicom(folder: Path, files: tuple[Path, ...]) -> tuple[tuple[ImageFacts, ...], tuple[str, ...]]:
    """Describe the images of a DICOM slide, and what else lies in its folder."""
    headers = dicom_files(folder)
    images = [
        ImageFacts(number=number, name=one.path.name, role=one.kind, width=one.width, height=one.height)
        for number, one in enumerate(sorted((one for one in headers if one.path in files), key=lambda one: -one.width))
    ]
    return tuple(images), tuple(f"{printable(one.path.name)}: {one.name}" for one in headers if one.path not in files)
