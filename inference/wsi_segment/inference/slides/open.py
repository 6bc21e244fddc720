"""Opening a slide: which reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.location import is_remote, open_bytes, slide_location
from wsi_segment.inference.slides.readers.image import SUFFIXES, ImageSlide
from wsi_segment.inference.slides.readers.openslide import OpenSlideReader
from wsi_segment.inference.slides.readers.refuse import refuse_unsupported
from wsi_segment.inference.slides.readers.tiffslide import TiffSlideReader, is_ome_tiff
from wsi_segment.inference.slides.readers.tiles import TileSlide
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.inference.slides.slide_files import file_of

LARGEST_SIDE = 1 << 22
"""Level-0 pixels: a metre at 0.25 µm."""


def open_slide(path: str | Path) -> Slide:
    """Open a slide file, a DICOM folder or one of its files, with the first reader that can.

    >>> slide = open_slide("slide.tiff")
    >>> slide.reader, slide.bounds.width
    ('tifffile', 600)
    >>> slide.close()

    Args:
        path: See :func:`~wsi_segment.inference.slides.location.slide_location`; remotely, TIFF kinds and pictures.

    Raises:
        SlideError: there is nothing, or nothing that any reader can open, or the image is not 8-bit RGB.
    """
    path = slide_location(path)
    if is_remote(path):
        file = path
        _reach(path)
    else:
        if not path.exists():
            raise SlideError(f"{path}: no such file")
        file = file_of(path)
        if not file.is_file():
            raise SlideError(f"{path}: not a file; give a slide file, or the folder of one DICOM slide")
        try:
            with file.open("rb") as content:
                empty = not content.read(1)
        except OSError as error:
            raise SlideError(f"{path}: cannot be read: {error.strerror}") from error
        if empty:
            raise SlideError(f"{path}: the file is empty; copy it again")
    refuse_unsupported(file)
    reasons: list[str] = []
    for attempt in _readers_for(file):
        try:
            slide = attempt(file)
        except SlideError as error:
            reasons.append(str(error))
            continue
        _refuse_endless(slide, path)
        return slide
    raise SlideError(f"{path}: not a slide that can be read ({'; '.join(reasons)}); convert it to a pyramidal TIFF")


def _refuse_endless(slide: Slide, path: Path) -> None:
    """A few wrong bytes can claim a size that would keep a run busy for days."""
    width, height = slide.bounds.width, slide.bounds.height
    if max(width, height) > LARGEST_SIDE:
        slide.close()
        raise SlideError(
            f"{path}: claims to be {width} x {height} px, no slide is wider than {LARGEST_SIDE}; copy it again"
        )


def _reach(address: Path) -> None:
    """Find out in words of our own why an address cannot be read; every protocol has errors of its own."""
    try:
        with open_bytes(address) as file:
            file.read(1)
    except Exception as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise SlideError(f"{address}: cannot be read: {reason or type(error).__name__:.200}") from error


def _readers_for(file: Path) -> tuple[Callable[[Path], Slide], ...]:
    """What to try, in this order."""
    if file.suffix.lower() in SUFFIXES:
        return (ImageSlide.open,)
    if is_remote(file):
        return (TiffSlideReader,)
    if is_ome_tiff(file):  # of which OpenSlide sees neither the levels nor the pixel size
        return (_open_with_tiffslide, _open_with_openslide)
    return (_open_with_openslide, _open_with_tiffslide)


def _open_with_openslide(path: Path) -> Slide:
    slide = OpenSlideReader(path)
    return TileSlide.over(slide, path) or slide


def _open_with_tiffslide(path: Path) -> Slide:
    slide = TiffSlideReader(path)
    return TileSlide.over(slide, path) or slide
