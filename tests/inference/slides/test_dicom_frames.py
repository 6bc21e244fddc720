"""DICOM whose frames a reader would show otherwise than they were meant is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames

from fuzz.dicom_maker import VOLUME, DicomSpec, image_of
from fuzz.oracle import scene
from wsi_segment.errors import SlideError
from wsi_segment.inference.slides.open import open_slide

COMMON = {"SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "StudyInstanceUID": "1.2.5"}


def made(spec: DicomSpec) -> Dataset:
    return image_of(scene(spec.height, spec.width, spec.seed), spec, COMMON, VOLUME)


def save(folder: Path, image: Dataset) -> Path:
    image.save_as(folder / "0.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("first", [True, False])
def test_frames_of_a_second_optical_path_are_not_passed_over(tmp_path: Path, first: bool) -> None:
    image = made(DicomSpec())
    frames, other = bytes(image.PixelData), bytes(len(image.PixelData))
    image.PixelData = frames + other if first else other + frames
    image.NumberOfFrames *= 2
    with pytest.raises(SlideError, match=r"has 32 frames for 16 places: several optical paths or focal planes"):
        open_slide(save(tmp_path, image))


def test_two_sparse_frames_at_one_place_are_refused(tmp_path: Path) -> None:
    image = made(DicomSpec(sparse=True))
    places = [frame.PlanePositionSlideSequence[0] for frame in image.PerFrameFunctionalGroupsSequence]
    places[0].ColumnPositionInTotalImagePixelMatrix = places[1].ColumnPositionInTotalImagePixelMatrix
    places[0].RowPositionInTotalImagePixelMatrix = places[1].RowPositionInTotalImagePixelMatrix
    with pytest.raises(SlideError, match=r"several for the one at \(257, 385\)"):
        open_slide(save(tmp_path, image))


def test_jpeg_frames_of_other_colours_than_the_header_says_are_refused(tmp_path: Path) -> None:
    image = made(DicomSpec(syntax="jpeg"))
    open_slide(save(tmp_path, image)).close()
    image.PhotometricInterpretation = "RGB"
    with pytest.raises(SlideError, match="its header says RGB, its JPEG frames YCbCr"):
        open_slide(save(tmp_path, image))


def jpeg_frames(image: Dataset, change: Callable[[bytes], bytes]) -> None:
    frames = generate_frames(image.PixelData, number_of_frames=int(image.NumberOfFrames))
    image.PixelData = encapsulate([change(frame) for frame in frames])


def without_jfif(frame: bytes) -> bytes:
    start = frame.index(b"\xff\xe0")
    return frame[:start] + frame[start + 2 + int.from_bytes(frame[start + 2 : start + 4], "big") :]


def test_colours_of_fewer_samples_are_no_rgb_though_no_segment_says_so(tmp_path: Path) -> None:
    image = made(DicomSpec(syntax="jpeg"))
    jpeg_frames(image, without_jfif)
    open_slide(save(tmp_path, image)).close()
    image.PhotometricInterpretation = "RGB"
    with pytest.raises(SlideError, match="its header says RGB, its JPEG frames YCbCr"):
        open_slide(save(tmp_path, image))


def test_components_that_are_called_rgb_are_no_ycbcr(tmp_path: Path) -> None:
    def renamed(frame: bytes) -> bytes:
        content = bytearray(without_jfif(frame))
        header, scan = content.index(b"\xff\xc0"), content.index(b"\xff\xda")
        for number, name in enumerate(b"RGB"):
            content[header + 10 + 3 * number] = content[scan + 5 + 2 * number] = name
            content[header + 11 + 3 * number] = 0x11
        return bytes(content)

    image = made(DicomSpec(syntax="jpeg"))
    jpeg_frames(image, renamed)
    with pytest.raises(SlideError, match="its header says YBR_FULL_422, its JPEG frames RGB"):
        open_slide(save(tmp_path, image))


@pytest.mark.parametrize("organization", ["", "3D"])
def test_frames_without_a_place_are_refused_in_every_organization_that_gives_them_none(
    tmp_path: Path, organization: str
) -> None:
    image = made(DicomSpec(sparse=True))
    if organization:
        image.DimensionOrganizationType = organization
    else:
        del image.DimensionOrganizationType
    open_slide(save(tmp_path, image)).close()
    del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence
    with pytest.raises(SlideError, match="1 of its frames do not say where they lie"):
        open_slide(save(tmp_path, image))


def test_half_a_place_is_none(tmp_path: Path) -> None:
    image = made(DicomSpec(sparse=True))
    del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix
    with pytest.raises(SlideError, match="1 of its frames do not say where they lie"):
        open_slide(save(tmp_path, image))


def test_a_frame_outside_of_the_slide_is_not_passed_over(tmp_path: Path) -> None:
    image = made(DicomSpec(sparse=True))
    place = image.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
    place.ColumnPositionInTotalImagePixelMatrix += 128 * 100
    with pytest.raises(SlideError, match="its frame 4 lies at column 12801, row 385, outside of its 500 x 400 px"):
        open_slide(save(tmp_path, image))


def test_places_that_are_counted_from_0_are_called_so(tmp_path: Path) -> None:
    image = made(DicomSpec(sparse=True))
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix -= 1
    message = r"its frame \d+ lies at column 0, row \d+, .* where positions count from 1; .* again with right positions"
    with pytest.raises(SlideError, match=message):
        open_slide(save(tmp_path, image))


def test_a_value_of_an_unknown_type_is_one_line(tmp_path: Path) -> None:
    path = save(tmp_path, made(DicomSpec())) / "0.dcm"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\x00\x04\x00CS", b"\x28\x00\x04\x00C9"))
    with pytest.raises(SlideError, match="its list of frames cannot be read"):
        open_slide(tmp_path)


def test_frames_of_a_volume_are_refused_where_one_alone_has_a_place(tmp_path: Path) -> None:
    image = made(DicomSpec(sparse=True))
    image.DimensionOrganizationType = "3D"
    frames = image.PerFrameFunctionalGroupsSequence
    for frame in frames[1:]:
        del frame.PlanePositionSlideSequence
    with pytest.raises(SlideError, match=f"{len(frames) - 1} of its frames do not say where they lie, as 3D asks"):
        open_slide(save(tmp_path, image))


def test_the_size_of_the_imaged_volume_is_a_second_statement_of_the_pixel_size(tmp_path: Path) -> None:
    image = made(DicomSpec())
    image.ImagedVolumeWidth, image.ImagedVolumeHeight = 0.5, 0.4
    slide = open_slide(save(tmp_path, image))
    assert slide.pixel_size is not None
    assert np.isclose(slide.pixel_size.mpp, 0.5)
    assert [doubt.code for doubt in slide.doubts] == ["pixel-size-differs"]
    assert "DICOM ImagedVolumeWidth/Height says 1" in slide.doubts[0].message
    slide.close()
