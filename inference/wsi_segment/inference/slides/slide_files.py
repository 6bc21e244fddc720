"""Which files a slide is made of. No library that decodes slides is needed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wsi_segment.errors import ReplacedSlideError, SlideError
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.slides.dicom import (
    DicomFile,
    dicom_files,
    is_dicom,
    read_header,
    refuse_mixed,
    slides_of,
)
from wsi_segment.inference.slides.dicom_frames import refuse_misread
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import is_remote, is_replaced

LARGEST_KEY_FILE = 1 << 20
"""Bytes; OpenSlide does not read larger ones either."""


def slide_files(path: Path) -> tuple[Path, ...]:
    """Return the files whose bytes make the slide.

    That is the file itself; of DICOM all images of the slide, and none of what else lies in its folder; of MIRAX the
    file and its folder; of Hamamatsu's VMS and VMU the key file and those that it names.

    Raises:
        SlideError: a folder or DICOM file is no slide, or several.
    """
    if is_remote(path):
        return (path,)
    if path.is_dir() or is_dicom(path):
        return tuple(sorted(image.path for image in _dicom_slide(path)))
    if path.suffix.lower() == ".mrxs":
        return (path, *sorted(part for part in path.with_suffix("").rglob("*") if part.is_file()))
    if path.suffix.lower() in (".vms", ".vmu"):
        return (path, *_named_in(path))
    return (path,)


def written(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """Return the size of each file in bytes, and when it was written to, in ns; a copy may have other times."""
    found = (file.stat() for file in files)
    return tuple((status.st_size, status.st_mtime_ns) for status in found)


def refuse_replaced(path: Path, fingerprint: str, parts: Parts, before: tuple[tuple[int, int], ...] = ()) -> None:
    """Refuse a mask whose slide is another one by now: some of its pixels may be of that one.

    What is no longer there was what it was for as long as it could be read.

    Args:
        path: Of the slide.
        fingerprint: Of what was there when the slide was opened.
        parts: Of a slide that is read over the network.
        before: What :func:`written` returned when this process opened the slide; a fingerprint is of samples alone.

    Raises:
        ReplacedSlideError: another slide is there.
    """
    try:
        if is_remote(path):
            replaced = is_replaced(path, parts)
        else:
            files = slide_files(path)
            replaced = slide_fingerprint(files) != fingerprint or before not in ((), written(files))
    except (OSError, SlideError):  # nor is what is no slide any more
        return
    if replaced:
        raise ReplacedSlideError(
            f"{path}: was replaced or written to while it was read, so that its mask may be of both; segment it again"
        )


def file_of(path: Path) -> Path:
    """Return the file that a reader is given: of a DICOM slide one of its VOLUME images.

    Raises:
        SlideError: a folder or DICOM file is no slide, or several.
    """
    return _dicom_slide(path)[0].path if path.is_dir() or is_dicom(path) else path


def _named_in(key_file: Path) -> list[Path]:
    """Return the files that a Hamamatsu key file names, as far as they are in its folder or below."""
    try:
        with key_file.open(encoding="utf-8", errors="replace") as opened:
            lines = opened.read(LARGEST_KEY_FILE).split("\n")
    except OSError:  # said by whoever opens it
        return []
    pairs = (line.partition("=") for line in lines)
    names = {value.strip() for key, _, value in pairs if key.strip().upper().startswith(("IMAGEFILE", "MAPFILE"))}
    below = [key_file.parent / name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]
    return sorted(file for file in below if file.is_file())


def _dicom_slide(path: Path) -> tuple[DicomFile, ...]:
    """Return the images of the one DICOM slide that a folder holds, or that a file belongs to."""
    if path.is_dir():
        files = dicom_files(path)
        slides = slides_of(files)
        if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
            raise SlideError(f"{path}: a Zarr store, such as a mask; slides in Zarr are not read, give an OME-TIFF")
        if not files:
            raise SlideError(
                f"{path}: a folder without DICOM files; give a slide file, or the folder of one DICOM slide"
            )
        if not slides:
            raise SlideError(f"{path}: holds no DICOM slide (VOLUME image), but {_listed(files)}; give a slide")
        if len(slides) > 1:
            raise SlideError(f"{path}: holds {len(slides)} DICOM slides; give a file of the one that is meant")
        images = slides[0]
    else:
        header = read_header(path)
        if not header.kind:
            raise SlideError(f"{path}: not a slide but a DICOM file of another kind: {header.name}; give the slide")
        mine = [images for images in slides_of(dicom_files(path.parent)) if images[0].series == header.series]
        if not mine:
            raise SlideError(f"{path}: the {header.name} without a VOLUME image beside it; give the slide")
        images = mine[0]
    refuse_mixed(images)
    refuse_misread(images)
    return images


def _listed(files: Sequence[DicomFile]) -> str:
    """Return what files are, with their numbers."""
    counts = Counter(file.name for file in files).most_common(5)
    return ", ".join(f"{count} {name}" for name, count in counts)
