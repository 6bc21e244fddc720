"""Which files a slide is made of. No library that decodes slides is needed for it."""

from __future__ import annotations

from pathlib import Path

from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.location import is_remote

_SERIES = b"\x20\x00\x0e\x00UI"
"""Tag and kind of a DICOM file's SeriesInstanceUID: the files of one slide share it."""


def slide_files(path: Path) -> tuple[Path, ...]:
    """The files whose bytes make the slide: the file, all of its DICOM series, or a MIRAX file and its folder."""
    if is_remote(path):
        return (path,)
    file = file_of(path)
    if _is_dicom(file):
        series = _series_of(file)
        return tuple(sorted(p for p in file.parent.iterdir() if _is_dicom(p) and _series_of(p) == series))
    if file.suffix.lower() == ".mrxs":
        return (file, *sorted(part for part in file.with_suffix("").rglob("*") if part.is_file()))
    return (file,)


def file_of(path: Path) -> Path:
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
