"""What DICOM files are, by their headers: which of a folder's files make a slide, and what the others are called.

pydicom reads the headers: values may stand in three encodings and within sequences, where a search for bytes finds the
series that a segmentation refers to before its own. Only the beginning of a file is read, pixels never are, and nothing
is decompressed, so that this is safe for files of strangers.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsi_segment.errors import SlideError

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOPClassUID of VL Whole Slide Microscopy Image Storage (DICOM PS3.4, table B.5-1)."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax of which all but the beginning is compressed: pydicom inflates it, however large it becomes."""
_KINDS = ("VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL")
"""Third values of ImageType (DICOM PS3.3, C.8.12.4.1.1); levels of the pyramid are VOLUME."""
_TAGS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "PyramidUID",
    "Modality",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ContainerIdentifier",
    "DimensionOrganizationType",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
)
_LAST = 0x0048_0007
"""TotalPixelMatrixRows: nothing that is needed comes after it, but long tables of frames do."""
_HEADS = (1 << 16, 1 << 22)
"""Bytes that are read at first, and where the wanted part of a header is longer."""
QUIET = threading.Lock()
"""Filters of warnings belong to the process: of two threads that change them, each must restore what it found."""
_UNSTATED = ("", "unknown", "none", "anonymous")
"""Containers that writers name when they know none."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """The header of one DICOM file; texts are empty where it does not state them."""

    path: Path
    sop_class: str
    instance: str
    """SOPInstanceUID."""
    modality: str
    image_type: tuple[str, ...]
    series: str
    """SeriesInstanceUID of the file itself, not of those that it refers to."""
    frame_of_reference: str
    container: str
    """Identifier of the glass slide."""
    pyramid: str
    organization: str
    """TILED_FULL, or TILED_SPARSE, where each frame says its place."""
    width: int
    height: int
    """Rows of the whole pixel matrix; 0 if not stated."""

    @property
    def kind(self) -> str:
        """VOLUME, LABEL, OVERVIEW or THUMBNAIL for images of a slide; empty for anything else."""
        kind = self.image_type[2] if self.sop_class == WHOLE_SLIDE and len(self.image_type) > 2 else ""
        return kind if kind in _KINDS else ""

    @property
    def name(self) -> str:
        """What people call such a file, such as ``SEG (Segmentation Storage)`` or ``LABEL image of a slide``."""
        from pydicom.config import IGNORE
        from pydicom.uid import UID

        if self.sop_class == WHOLE_SLIDE:
            return f"{self.kind or '/'.join(self.image_type) or 'untyped'} image of a slide"
        stated = UID(self.sop_class, IGNORE).name if self.sop_class else "DICOM file that does not say what it is"
        if "Directory" in stated:
            return f"DICOMDIR ({stated})"
        return f"{self.modality} ({stated})" if self.modality else stated


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM Part 10 says, whatever its name; a TIFF that is both counts as TIFF."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return False
    try:
        if not path.is_file():  # opening a pipe would wait for somebody to write into it
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_files(folder: Path) -> tuple[DicomFile, ...]:
    """Return all DICOM files that lie in a folder, in the order of their names.

    Raises:
        SlideError: the folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise SlideError(f"{folder}: cannot be read: {error.strerror}") from error
    return tuple(read_header(path) for path in paths if is_dicom(path))


def slides_of(files: Sequence[DicomFile]) -> tuple[tuple[DicomFile, ...], ...]:
    """Return the slides that files hold: of each its images, VOLUME images first.

    A slide is a series with at least one VOLUME image, its label and overviews included. What else lies beside it
    (segmentations, annotations, a DICOMDIR, other modalities) belongs to no slide.
    """
    found: dict[str, list[DicomFile]] = {}
    for file in files:
        if file.kind:
            found.setdefault(file.series, []).append(file)
    slides = (sorted(images, key=lambda image: _KINDS.index(image.kind)) for images in found.values())
    return tuple(tuple(images) for images in slides if images[0].kind == "VOLUME")


def refuse_mixed(images: Sequence[DicomFile]) -> None:
    """Refuse a series whose VOLUME images are not of one pyramid: a reader would take them for its levels.

    Levels of one pyramid share their frame of reference (DICOM PS3.3, C.8.12.14), container and pyramid identifier.

    Raises:
        SlideError: they differ in one that all of them state.
    """
    volumes = [image for image in images if image.kind == "VOLUME"]
    for what, stated in (
        ("frames of reference", {image.frame_of_reference for image in volumes}),
        ("containers", {image.container for image in volumes if image.container.lower() not in _UNSTATED}),
        ("pyramids", {image.pyramid for image in volumes}),
    ):
        if len(stated - {""}) > 1:
            raise SlideError(
                f"{volumes[0].path}: its series holds images of {len(stated - {''})} {what}, which are several slides; "
                "put the images of each into a folder of its own"
            )


def read_header(path: Path) -> DicomFile:
    """Read what a DICOM file says it is; an unreadable header gives empty values.

    Raises:
        SlideError: the file cannot be read.
    """
    try:
        status = path.stat()
        return _read_header(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4096)
def _read_header(path: Path, size: int, changed: int) -> DicomFile:
    """Read a header; a file that has not changed is read once."""
    header: dict[str, Any] = {}
    for length in _HEADS:
        with path.open("rb") as file:
            header, complete = _parsed(file.read(length))
        if complete or size <= length:
            break
    return DicomFile(
        path=path,
        sop_class=_text(header, "SOPClassUID"),
        instance=_text(header, "SOPInstanceUID"),
        modality=_text(header, "Modality"),
        image_type=tuple(part.strip() for part in _text(header, "ImageType").split("\\") if part.strip()),
        series=_text(header, "SeriesInstanceUID"),
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        container=_text(header, "ContainerIdentifier"),
        pyramid=_text(header, "PyramidUID"),
        organization=_text(header, "DimensionOrganizationType"),
        width=_number(header, "TotalPixelMatrixColumns"),
        height=_number(header, "TotalPixelMatrixRows"),
    )


def _parsed(head: bytes) -> tuple[dict[str, Any], bool]:
    """Return values by their keywords, and whether ``head`` holds all of the part that is asked for."""
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag, Tag

    complete = False

    def reached(tag: int, vr: str | None, length: int) -> bool:
        nonlocal complete
        complete = complete or tag > _LAST
        return tag > _LAST

    if _DEFLATED in head:
        return {}, True
    wanted: list[BaseTag | int] = [Tag(keyword) for keyword in _TAGS]
    try:
        with QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that break a rule, which is no concern of the user
            found = read_partial(io.BytesIO(head), stop_when=reached, specific_tags=wanted)
        # as they are stored, since pydicom checks what it converts
        values: dict[str, Any] = {keyword: found.get_item(keyword) for keyword in _TAGS if keyword in found}
        values.setdefault("SOPClassUID", found.file_meta.get_item("MediaStorageSOPClassUID"))  # all that a DICOMDIR has
    except Exception:  # pydicom raises errors of many kinds for damaged files
        return {}, False
    return values, complete


def _text(header: dict[str, Any], keyword: str) -> str:
    value = getattr(header.get(keyword), "value", None)
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")


def _number(header: dict[str, Any], keyword: str) -> int:
    element = header.get(keyword)
    value = getattr(element, "value", None)
    if isinstance(value, bytes):
        return int.from_bytes(value[:4], "little" if getattr(element, "is_little_endian", True) else "big")
    return value if isinstance(value, int) else 0
