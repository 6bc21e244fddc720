"""Which files of a folder of DICOM make a slide, and what the others are called."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from fuzz.dicom_maker import OTHERS, VOLUME, DicomSpec, dataset_of, image_of, write_dicom
from fuzz.oracle import judge, scene
from wsi_segment.errors import ReplacedSlideError, SlideError
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.slides.dicom import WHOLE_SLIDE, dicom_files, read_header, slides_of
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide_files import file_of, refuse_replaced, slide_files

SPEC = DicomSpec(width=300, height=260, levels=(2,), labels=("LABEL", "OVERVIEW"))


def right(folder: Path, spec: DicomSpec) -> bool:
    folder.mkdir()
    given, expected = write_dicom(folder, spec)
    return judge(given, replace(expected, must_open=True)).verdict == "right"


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("order", range(3))
def test_what_lies_beside_a_slide_is_no_part_of_it(tmp_path: Path, kind: str, order: int) -> None:
    assert right(tmp_path / "d", replace(SPEC, beside=(kind,), order=order))


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_slide_is_named_as_what_it_is(tmp_path: Path, kind: str) -> None:
    given, _ = write_dicom(tmp_path, replace(SPEC, beside=(kind,), opened="other"))
    with pytest.raises(SlideError, match=OTHERS[kind][1] or kind):
        open_slide(given)


def test_a_folder_without_a_slide_says_what_it_holds(tmp_path: Path) -> None:
    for number in range(3):
        made = dataset_of(*OTHERS["CT"])
        made.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    with pytest.raises(SlideError, match=r"no DICOM slide .* 3 CT \(CT Image Storage\)"):
        open_slide(tmp_path)


def test_a_result_beside_a_slide_leaves_its_fingerprint(tmp_path: Path) -> None:
    folder, _ = write_dicom(tmp_path, SPEC)
    before = slide_fingerprint(slide_files(folder))
    made = dataset_of(*OTHERS["SEG"])
    made.ReferencedSeriesSequence = Sequence([image_of(scene(9, 9), SPEC, {}, VOLUME)])
    made.save_as(tmp_path / "0seg.dcm", enforce_file_format=True)
    assert slide_fingerprint(slide_files(folder)) == before


@pytest.mark.parametrize("opened", ["volume", "label"])
def test_of_two_slides_in_a_folder_the_one_whose_file_is_given_is_opened(tmp_path: Path, opened: str) -> None:
    assert right(tmp_path / "d", replace(SPEC, beside=("another slide",), opened=opened))


def test_two_slides_that_refer_to_one_series_are_two(tmp_path: Path) -> None:
    write_dicom(tmp_path, replace(SPEC, beside=("another slide",)))
    assert len(slides_of(dicom_files(tmp_path))) == 2
    with pytest.raises(SlideError, match="holds 2 DICOM slides"):
        open_slide(tmp_path)


@pytest.mark.parametrize("differs", ["FrameOfReferenceUID", "ContainerIdentifier", "PyramidUID"])
def test_two_slides_under_one_series_are_refused_however_they_are_named(tmp_path: Path, differs: str) -> None:
    common = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "PyramidUID": generate_uid()}
    for number, size in enumerate((200, 150)):
        own = {differs: "C2" if differs == "ContainerIdentifier" else generate_uid()} if number else {}
        image_of(scene(size, size, number), SPEC, {**common, **own}, VOLUME).save_as(
            tmp_path / f"{number}.dcm", enforce_file_format=True
        )
    for given in (tmp_path, tmp_path / "1.dcm"):
        with pytest.raises(SlideError, match="several slides; put the images of each into a folder"):
            open_slide(given)


def test_containers_that_are_not_known_are_no_difference(tmp_path: Path) -> None:
    common = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    pixels = scene(200, 200)
    for number, container in enumerate(("Unknown", "C1")):
        made = image_of(
            pixels[:: number + 1, :: number + 1], SPEC, {**common, "ContainerIdentifier": container}, VOLUME
        )
        made.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    slide = open_slide(tmp_path)
    assert len(slide.levels) == 2
    slide.close()


def test_a_label_alone_is_named(tmp_path: Path) -> None:
    made = image_of(scene(50, 60), SPEC, {"SeriesInstanceUID": "1.2"}, ("ORIGINAL", "PRIMARY", "LABEL", "NONE"))
    made.save_as(tmp_path / "0.dcm", enforce_file_format=True)
    for given in (tmp_path, tmp_path / "0.dcm"):
        with pytest.raises(SlideError, match="LABEL image of a slide"):
            open_slide(given)


def test_the_file_that_is_read_is_a_volume_image(tmp_path: Path) -> None:
    for order in range(4):
        folder = tmp_path / str(order)
        folder.mkdir()
        write_dicom(folder, replace(SPEC, order=order))
        assert read_header(file_of(folder)).kind == "VOLUME"


def test_a_header_is_found_in_every_encoding_and_behind_long_values(tmp_path: Path) -> None:
    for syntax in ("explicit", "implicit", "jpeg"):
        made = image_of(scene(60, 70), replace(SPEC, syntax=syntax), {"SeriesInstanceUID": "1.2.3"}, VOLUME)
        made.add_new(0x00091001, "OB", bytes(300_000))
        path = tmp_path / f"{syntax}.dcm"
        made.save_as(path, enforce_file_format=True)
        header = read_header(path)
        assert (header.sop_class, header.series, header.kind, header.width) == (WHOLE_SLIDE, "1.2.3", "VOLUME", 70)


def test_a_deflated_file_is_never_inflated(tmp_path: Path) -> None:
    made = dataset_of(WHOLE_SLIDE, "SM", DeflatedExplicitVRLittleEndian)
    made.ImageType, made.PixelData = list(VOLUME), bytes(1_000_000)
    made["PixelData"].VR = "OB"
    made.save_as(tmp_path / "0.dcm", enforce_file_format=True)
    assert read_header(tmp_path / "0.dcm").kind == ""


@pytest.mark.parametrize("size", [132, 140, 200, 400, 700])
def test_a_cut_off_header_is_told_from_a_slide(tmp_path: Path, size: int) -> None:
    write_dicom(tmp_path, DicomSpec(width=140, height=140))
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(SlideError):
        open_slide(path)


def test_values_that_break_a_rule_are_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "0.dcm"
    image_of(scene(60, 70), SPEC, {"SeriesInstanceUID": "1.2.300"}, VOLUME).save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"1.2.300", b"1.x.0_0"))
    assert read_header(path).series == "1.x.0_0"


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "0.dcm"
    dataset_of(*OTHERS["CT"]).save_as(path, enforce_file_format=True)
    assert "CT" in read_header(path).name
    image_of(scene(60, 70), SPEC, {"SeriesInstanceUID": "1.2.3"}, VOLUME).save_as(path, enforce_file_format=True)
    assert read_header(path).kind == "VOLUME"


def test_real_files_beside_a_segmentation_are_the_same_slide(slides: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    shutil.copytree(slides / "dicom-cmu-1", folder)
    before = slide_files(folder)
    series = read_header(before[0]).series
    made = dataset_of(*OTHERS["SEG"])
    refers = dataset_of(*OTHERS["SEG"])
    refers.SeriesInstanceUID = series
    made.ReferencedSeriesSequence = Sequence([refers])
    made.SeriesInstanceUID = generate_uid()
    made.save_as(folder / "0.dcm", enforce_file_format=True)
    assert slide_files(folder) == before
    slide = open_slide(folder)
    assert np.array_equal((slide.levels[0].width, slide.levels[0].height), (2220, 2967))
    slide.close()


@pytest.mark.parametrize("placed", [None, 0, 1])
def test_sparse_frames_without_a_place_are_refused_before_a_reader_gets_them(
    placed: int | None, tmp_path: Path
) -> None:
    folder, _ = write_dicom(tmp_path, SPEC)
    image = next(one for one in dicom_files(Path(folder)) if one.kind == "VOLUME")
    made = dcmread(image.path)
    made.DimensionOrganizationType = "TILED_SPARSE"
    if placed is not None:
        position = Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = position.RowPositionInTotalImagePixelMatrix = 1
        frame = Dataset()
        frame.PlanePositionSlideSequence = Sequence([position])
        made.PerFrameFunctionalGroupsSequence = Sequence([frame] * placed)
    made.save_as(image.path)
    with pytest.raises(SlideError, match="frames do not say where they lie"):
        slide_files(Path(folder))


def test_a_slide_that_is_no_longer_there_was_not_replaced(tmp_path: Path) -> None:
    emptied = tmp_path / "folder"
    emptied.mkdir()
    for gone in (tmp_path / "gone.svs", emptied):  # a run that has all its pixels ends with a mask
        refuse_replaced(gone, "of what was there", Parts())
    other = tmp_path / "other.tiff"
    other.write_bytes(b"another file")
    with pytest.raises(ReplacedSlideError, match="was replaced or written to while it was read"):
        refuse_replaced(other, "of what was there", Parts())
