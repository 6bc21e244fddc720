"""Opening a slide: which reader, and which files it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wsi_segment.inference.readers.image import SUFFIXES, ImageSlide
from wsi_segment.inference.readers.openslide import OpenSlideSlide
from wsi_segment.inference.readers.refuse import refuse_unsupported
from wsi_segment.inference.readers.tiffslide import TiffSlideSlide
from wsi_segment.inference.readers.tiles import TileSlide
from wsi_segment.inference.slide import Slide
from wsi_segment.model.errors import SlideError


def open_slide(path: Path) -> Slide:
    """Open a slide file, a DICOM folder or one of its files, with the first reader that can.

    Raises:
        SlideError: there is nothing, or nothing that any reader can open, or the image is not 8-bit RGB.
    """
    if not path.exists():
        raise SlideError(f"{path}: no such file")
    file = _file_of(path)
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error
    refuse_unsupported(file)
    attempts: tuple[Callable[[Path], Slide], ...] = (_open_with_openslide, TiffSlideSlide)
    if file.suffix.lower() in SUFFIXES:
        attempts = (ImageSlide.open,)
    reasons: list[str] = []
    for attempt in attempts:
        try:
            return attempt(file)
        except SlideError as error:
            reasons.append(str(error))
    raise SlideError(f"{path}: not a slide that can be read ({'; '.join(reasons)}); convert it to a pyramidal TIFF")


def slide_files(path: Path) -> tuple[Path, ...]:
    """The files whose bytes make the slide: the file, all files of a DICOM folder, or a MIRAX file and its folder."""
    file = _file_of(path)
    if _is_dicom(file):
        return tuple(sorted(part for part in file.parent.iterdir() if _is_dicom(part)))
    if file.suffix.lower() == ".mrxs":
        return (file, *sorted(part for part in file.with_suffix("").rglob("*") if part.is_file()))
    return (file,)


def _open_with_openslide(path: Path) -> Slide:
    slide = OpenSlideSlide(path)
    return TileSlide.over(slide, path) or slide


def _file_of(path: Path) -> Path:
    """The file that a reader is given: of a folder, its first DICOM file."""
    if not path.is_dir():
        return path
    instances = sorted(part for part in path.iterdir() if _is_dicom(part))
    if not instances:
        raise SlideError(f"{path}: a folder without DICOM files; give a slide file, or the folder of one DICOM slide")
    return instances[0]


def _is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM Part 10 says, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
