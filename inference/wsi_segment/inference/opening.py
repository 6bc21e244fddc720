"""Opening a slide: which reader, and which files it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wsi_segment.inference.location import is_remote, open_bytes
from wsi_segment.inference.readers.image import SUFFIXES, ImageSlide
from wsi_segment.inference.readers.openslide import OpenSlideSlide
from wsi_segment.inference.readers.refuse import refuse_unsupported
from wsi_segment.inference.readers.tiffslide import TiffSlideSlide, is_ome_tiff
from wsi_segment.inference.readers.tiles import TileSlide
from wsi_segment.inference.slide import Slide
from wsi_segment.model.errors import SlideError

_SERIES = b"\x20\x00\x0e\x00UI"
"""Tag and kind of a DICOM file's SeriesInstanceUID: the files of one slide share it."""

LARGEST_SIDE = 1 << 22
"""Level-0 pixels: a metre at 0.25 µm."""


def open_slide(path: Path) -> Slide:
    """Open a slide file, a DICOM folder or one of its files, with the first reader that can.

    Args:
        path: See :func:`wsi_segment.inference.location.slide_location`; over the network, TIFF kinds and pictures.

    Raises:
        SlideError: there is nothing, or nothing that any reader can open, or the image is not 8-bit RGB.
    """
    if is_remote(path):
        file = path
        _reach(path)
    else:
        if not path.exists():
            raise SlideError(f"{path}: no such file")
        file = _file_of(path)
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


def slide_files(path: Path) -> tuple[Path, ...]:
    """The files whose bytes make the slide: the file, all of its DICOM series, or a MIRAX file and its folder."""
    if is_remote(path):
        return (path,)
    file = _file_of(path)
    if _is_dicom(file):
        series = _series_of(file)
        return tuple(sorted(p for p in file.parent.iterdir() if _is_dicom(p) and _series_of(p) == series))
    if file.suffix.lower() == ".mrxs":
        return (file, *sorted(part for part in file.with_suffix("").rglob("*") if part.is_file()))
    return (file,)


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
        return (TiffSlideSlide,)
    if is_ome_tiff(file):  # of which OpenSlide sees neither the levels nor the pixel size
        return (_open_with_tiffslide, _open_with_openslide)
    return (_open_with_openslide, _open_with_tiffslide)


def _open_with_openslide(path: Path) -> Slide:
    slide = OpenSlideSlide(path)
    return TileSlide.over(slide, path) or slide


def _open_with_tiffslide(path: Path) -> Slide:
    slide = TiffSlideSlide(path)
    return TileSlide.over(slide, path) or slide


def _file_of(path: Path) -> Path:
    """The file that a reader is given: of a folder, its first DICOM file."""
    if not path.is_dir():
        return path
    instances = sorted(part for part in path.iterdir() if _is_dicom(part))
    if not instances:
        raise SlideError(f"{path}: a folder without DICOM files; give a slide file, or the folder of one DICOM slide")
    if (count := len({_series_of(part) for part in instances})) > 1:
        raise SlideError(f"{path}: holds {count} DICOM slides; give a file of the one that is meant")
    return instances[0]


def _series_of(path: Path) -> bytes:
    """The series of a DICOM file; empty where it is not found."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    start = head.find(_SERIES) + len(_SERIES)
    if start < len(_SERIES):
        return b""
    stop = start + 2 + int.from_bytes(head[start : start + 2], "little")
    return head[start + 2 : stop].rstrip(b"\0")


def _is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM Part 10 says, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
