"""Folders of DICOM files: a slide of any kind, and what is found beside one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from fuzz.oracle import LOSSLESS, LOSSY, Expected, reduced, scene
from wsi_segment.inference.slides.dicom import WHOLE_SLIDE

OTHERS = {
    "SEG": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG"),
    "ANN": ("1.2.840.10008.5.1.4.1.1.91.1", "ANN"),
    "DICOMDIR": ("1.2.840.10008.1.3.10", ""),
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    "SR": ("1.2.840.10008.5.1.4.1.1.88.33", "SR"),
    "parametric map": ("1.2.840.10008.5.1.4.1.1.30", "OT"),
}
"""SOP classes and modalities of what lies beside slides."""
SECOND = ("another slide", "another slide of the series", "another image of level 0", "label of its own series")
VOLUME = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "jpeg": JPEGBaseline8Bit,
    "jpeg2000": JPEG2000Lossless,
    "rle": RLELossless,
}


@dataclass(frozen=True, slots=True)
class DicomSpec:
    """All that is varied of a folder of DICOM files."""

    width: int = 500
    height: int = 400
    seed: int = 1
    syntax: str = "explicit"
    samples: str = "rgb8"
    """rgb8, grey8 or rgb16."""
    tile: tuple[int, int] = (128, 128)
    levels: tuple[int, ...] = ()
    sparse: bool = False
    """TILED_SPARSE with the tiles in another order, not TILED_FULL."""
    left_out: tuple[float, ...] = ()
    """Places of tiles, 0 to 1, of which a sparse image has no frame."""
    image_type: tuple[str, ...] = VOLUME
    planes: int = 1
    """Focal planes."""
    mpp: tuple[float, float] | None = (0.5, 0.5)
    labels: tuple[str, ...] = ()
    """Further images of the slide."""
    beside: tuple[str, ...] = ()
    """Keys of OTHERS and names of SECOND."""
    duplicate: bool = False
    """Whether the file of level 0 lies there twice."""
    order: int = 0
    """Of the names."""
    suffix: str = ".dcm"
    opened: str = "folder"
    """folder, volume, label or other: what is given to the reader."""


@st.composite
def dicoms(draw: st.DrawFn) -> DicomSpec:
    """Draw a folder; most are everyday slides with an oddity or two."""

    def seldom(strategy: st.SearchStrategy[Any], usual: Any, odds: int = 5) -> Any:
        return draw(strategy) if draw(st.integers(1, odds)) == 1 else usual

    one = draw(st.sampled_from((0.25, 0.5, 1.0)))
    sparse = seldom(st.just(True), False, 3)
    types = st.sampled_from((("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"), ("ORIGINAL", "PRIMARY", "VOLUME")))
    return DicomSpec(
        width=draw(st.integers(130, 600)),
        height=draw(st.integers(130, 600)),
        seed=draw(st.integers(0, 99)),
        syntax=draw(st.sampled_from(tuple(SYNTAXES))),
        samples=seldom(st.sampled_from(("grey8", "rgb16")), "rgb8", 8),
        tile=(draw(st.sampled_from((64, 128, 240))), draw(st.sampled_from((64, 128, 256)))),
        levels=draw(st.sampled_from(((), (2,), (2, 4), (4,)))),
        sparse=sparse,
        left_out=seldom(st.lists(st.sampled_from((0.0, 0.4, 0.99)), max_size=3).map(tuple), ()) if sparse else (),
        image_type=seldom(types, VOLUME),
        planes=seldom(st.just(2), 1, 10),
        mpp=seldom(st.sampled_from((None, (one, 1.5 * one))), (one, one), 8),
        labels=draw(st.lists(st.sampled_from(("LABEL", "OVERVIEW", "THUMBNAIL")), unique=True).map(tuple)),
        beside=draw(st.lists(st.sampled_from((*OTHERS, *OTHERS, *SECOND)), max_size=2, unique=True).map(tuple)),
        duplicate=seldom(st.just(True), False, 10),
        order=draw(st.integers(0, 5)),
        suffix=seldom(st.sampled_from(("", ".DCM", ".dicom")), ".dcm"),
        opened=draw(st.sampled_from(("folder", "folder", "volume", "label", "other"))),
    )


def write_dicom(folder: Path, spec: DicomSpec) -> tuple[Path, Expected]:
    """Write a folder; return what to open, and what it shows."""
    pixels = scene(spec.height, spec.width, spec.seed)
    shown = pixels.copy()
    series, frame, study = generate_uid(), generate_uid(), generate_uid()
    common = {"SeriesInstanceUID": series, "FrameOfReferenceUID": frame, "StudyInstanceUID": study}
    made = [image_of(pixels, spec, common, spec.image_type, shown=shown)]
    for factor in spec.levels:
        width, height = max(1, spec.width // factor), max(1, spec.height // factor)
        resampled = (*("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")[: len(spec.image_type)],)
        made.append(image_of(reduced(pixels, width, height), spec, common, resampled, factor))
    volumes = len(made)
    for number, label in enumerate(spec.labels):
        picture = scene(90 + number, 150, 500 + spec.seed + number)
        made.append(image_of(picture, spec, common, ("ORIGINAL", "PRIMARY", label, "NONE"), one_tile=True))
    files = [*made, *(_beside(name, spec, common) for name in spec.beside)]
    if spec.duplicate:
        files.append(made[0])
    places = np.random.default_rng(spec.order).permutation(len(files))
    paths = [folder / f"{place:02d}{spec.suffix}" for place in places]
    for path, file in zip(paths, files, strict=True):
        file.save_as(path, enforce_file_format=True)
    given = {"volume": paths[0]}
    if spec.labels:
        given["label"] = paths[volumes]
    if spec.beside and spec.beside[0] != "another slide":  # which is right to be opened, and another picture
        given["other"] = paths[len(made)]
    as_grey = np.repeat(shown[..., 1:2], 3, axis=2)
    return given.get(spec.opened, folder), Expected(
        as_grey if spec.samples == "grey8" else shown,
        spec.mpp,
        LOSSY if spec.syntax == "jpeg" else LOSSLESS,
        must_open=_everyday(spec),
        files=frozenset([*paths[: len(made)], *([paths[-1]] if spec.duplicate else [])]),
        below=np.repeat(pixels[..., 1:2], 3, axis=2) if spec.samples == "grey8" else pixels,
    )


def _everyday(spec: DicomSpec) -> bool:
    """Whether a refusal would be a defect."""
    return (
        spec.samples == "rgb8"
        and spec.syntax in ("explicit", "jpeg", "jpeg2000")
        and len(spec.image_type) == 4
        and spec.planes == 1
        and (spec.mpp is None or spec.mpp[0] == spec.mpp[1])
        and not set(SECOND[:3]) & set(spec.beside)
        and not (spec.opened == "other" and spec.beside)
    )


def image_of(
    pixels: NDArray[np.uint8],
    spec: DicomSpec,
    common: dict[str, Any],
    image_type: tuple[str, ...],
    factor: int = 1,
    *,
    one_tile: bool = False,
    shown: NDArray[np.uint8] | None = None,
) -> Dataset:
    """Make one VL Whole Slide Microscopy image; ``shown`` becomes white where it has no frame."""
    height, width = pixels.shape[:2]
    rows, columns = (height, width) if one_tile else spec.tile
    down, across = -(-height // rows), -(-width // columns)
    padded = np.pad(pixels, ((0, down * rows - height), (0, across * columns - width), (0, 0)), constant_values=255)
    tiles = padded.reshape(down, rows, across, columns, 3).swapaxes(1, 2).reshape(-1, rows, columns, 3)
    numbers = list(range(len(tiles)))
    if spec.sparse and not one_tile:
        gone = {int(place * len(tiles)) for place in spec.left_out} if factor == 1 else set()
        numbers = [number for number in reversed(numbers) if number not in gone] or [0]
        for number in set(range(len(tiles))) - set(numbers):
            y, x = number // across * rows, number % across * columns
            if shown is not None:
                shown[y : y + rows, x : x + columns] = 255
    made = dataset_of(WHOLE_SLIDE, "SM", SYNTAXES[spec.syntax])
    grey = spec.samples == "grey8"
    bits = 16 if spec.samples == "rgb16" else 8
    depth = _of(SliceThickness="1")
    if spec.mpp is not None:  # PixelSpacing is the distance of rows, then of columns, in mm
        depth.PixelSpacing = [spec.mpp[1] * factor / 1000, spec.mpp[0] * factor / 1000]
    fill = {
        "ImageType": list(image_type), "SamplesPerPixel": 1 if grey else 3,
        "NumberOfFrames": len(numbers) * spec.planes,
        "PhotometricInterpretation": "MONOCHROME2" if grey else _colours(spec.syntax),
        "Rows": rows, "Columns": columns, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": 0, "TotalPixelMatrixColumns": width, "TotalPixelMatrixRows": height,
        "TotalPixelMatrixFocalPlanes": spec.planes, "ContainerIdentifier": "C1",
        "DimensionOrganizationType": "TILED_SPARSE" if spec.sparse and not one_tile else "TILED_FULL",
        "ImagedVolumeWidth": width * 0.0005, "ImagedVolumeHeight": height * 0.0005, "ImagedVolumeDepth": 0.001,
        "OpticalPathSequence": Sequence([_of(OpticalPathIdentifier="1")]),
        "SharedFunctionalGroupsSequence": Sequence([_of(PixelMeasuresSequence=Sequence([depth]))]),
    }  # fmt: skip
    for name, value in {**fill, **common}.items():
        setattr(made, name, value)
    if not grey:
        made.PlanarConfiguration = 0
    if made.DimensionOrganizationType == "TILED_SPARSE":
        places = [(number // across * rows + 1, number % across * columns + 1) for number in numbers] * spec.planes
        made.PerFrameFunctionalGroupsSequence = Sequence(
            _of(
                PlanePositionSlideSequence=Sequence(
                    [_of(RowPositionInTotalImagePixelMatrix=y, ColumnPositionInTotalImagePixelMatrix=x)]
                )
            )
            for y, x in places
        )
    frames = [_frame(tiles[number], spec) for number in numbers] * spec.planes
    if SYNTAXES[spec.syntax].is_encapsulated:
        made.PixelData = encapsulate(frames)
        made["PixelData"].VR = "OB"
    else:
        joined = b"".join(frames)
        made.PixelData = joined + bytes(len(joined) % 2)
        made["PixelData"].VR = "OW" if bits == 16 else "OB"
    return made


def _colours(syntax: str) -> str:
    return {"jpeg": "YBR_FULL_422"}.get(syntax, "RGB")


def _frame(tile: NDArray[np.uint8], spec: DicomSpec) -> bytes:
    stored: NDArray[Any] = tile[..., 1] if spec.samples == "grey8" else tile
    if spec.syntax == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(stored), level=92, subsampling="422"))
    if spec.samples == "rgb16":
        stored = stored.astype(np.uint16) * 257
    stored = np.ascontiguousarray(stored)
    if spec.syntax == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(stored, codecformat="j2k", reversible=True, mct=False))
    if spec.syntax == "rle":
        return _rle(stored)
    return stored.tobytes()


def _rle(stored: NDArray[Any]) -> bytes:
    colour = stored.ndim == 3
    bits = stored.dtype.itemsize * 8
    return bytes(
        RLELosslessEncoder.encode(
            stored,
            rows=stored.shape[0],
            columns=stored.shape[1],
            number_of_frames=1,
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
            samples_per_pixel=3 if colour else 1,
            photometric_interpretation="RGB" if colour else "MONOCHROME2",
            planar_configuration=0,
        )
    )


def dataset_of(sop_class: str, modality: str, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """Make a file without content."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), generate_uid()
    meta.TransferSyntaxUID = syntax
    made = _of(SOPClassUID=sop_class, SOPInstanceUID=meta.MediaStorageSOPInstanceUID)
    if modality:
        made.Modality = modality
    made.file_meta = meta
    return made


def _beside(name: str, spec: DicomSpec, common: dict[str, Any]) -> Dataset:
    """Make a file that is not of the slide; a SEG and an ANN refer to the slide's series before they name their own."""
    if name in OTHERS:
        made = dataset_of(*OTHERS[name])
        if name != "DICOMDIR":
            made.SeriesInstanceUID = generate_uid()
            made.ReferencedSeriesSequence = Sequence([_of(SeriesInstanceUID=common["SeriesInstanceUID"])])
        return made
    other = scene(spec.height - 30, spec.width - 20, 900 + spec.seed)
    if name == "another image of level 0":
        return image_of(scene(spec.height, spec.width, 900 + spec.seed), spec, common, VOLUME)
    if name == "another slide of the series":
        apart = {"FrameOfReferenceUID": generate_uid(), "ContainerIdentifier": "C2"}
        return image_of(other, spec, {**common, **apart}, VOLUME)
    own: dict[str, Any] = {
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "ContainerIdentifier": "C2",
    }
    if name == "another slide":
        own["ReferencedSeriesSequence"] = Sequence([_of(SeriesInstanceUID=common["SeriesInstanceUID"])])
        return image_of(other, spec, {**common, **own}, VOLUME)
    return image_of(other[:100, :100], spec, {**common, **own}, ("ORIGINAL", "PRIMARY", "LABEL", "NONE"), one_tile=True)


def _of(**values: Any) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made
