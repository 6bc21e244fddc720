from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wsi_segment.errors import DatasetError
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.data.patches import extract_patches

CLASSES = {"classes": [{"name": "stroma", "color": [9, 9, 9]}, {"name": "tumour", "color": [200, 0, 0]}], "mpp": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.zeros((140, 150, 3), np.uint8)
    mask = np.ones((140, 150), np.uint8)
    mask[:, 75:] = 2
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / f"{name}_mask.png")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    write_rows(tmp_path, ["a.png,a_mask.png,,p1,train", "b.png,,tumour,p1,train", "c.png,c_mask.png,tumour,p2,val"])
    return tmp_path


def write_rows(folder: Path, rows: list[str]) -> None:
    (folder / "manifest.csv").write_text("\n".join(["image,mask,label,group,split", *rows]))


def test_a_manifest_gives_items_masks_and_labels(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert [item.label for item in dataset.items] == [None, 2, 2]
    first = dataset.read_mask(dataset.items[0])
    assert first is not None
    assert first[0].tolist() == [1] * 75 + [2] * 75
    assert dataset.read_mask(dataset.items[1]) is None
    assert dataset.read_image(dataset.items[1]).shape == (140, 150, 3)
    assert [item.group for item in dataset.split("val")] == ["p2"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.png,a_mask.png,,p1,train", "c.png,c_mask.png,,p1,val"], "group 'p1' lies in train and in val"),
        (["missing.png,,tumour,p1,train"], "line 2: .*missing.png does not exist"),
        (["a.png,missing.png,,p1,train"], "line 2: .*missing.png does not exist"),
        (["a.png,a_mask.png,cyst,p1,train"], "label 'cyst' is not in classes.json"),
        (["a.png,,,p1,train"], "neither mask nor label"),
        (["a.png,a_mask.png,,p1,holdout"], "split is 'holdout'"),
    ],
)
def test_a_bad_row_is_named(folder: Path, rows: list[str], message: str) -> None:
    write_rows(folder, rows)
    with pytest.raises(DatasetError, match=message):
        read_dataset(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,a_mask.png,,p1,train,0.5", "line 2: mpp is for slides with annotations"),
        ("a.png,a.geojson,,p1,train,half", "line 2: mpp 'half' is not a number; give the µm per level-0 pixel"),
    ],
)
def test_the_mpp_of_a_row_is_a_number_and_of_a_slide(folder: Path, row: str, message: str) -> None:
    (folder / "a.geojson").write_text("{}")
    (folder / "manifest.csv").write_text(f"image,mask,label,group,split,mpp\n{row}")
    with pytest.raises(DatasetError, match=message):
        read_dataset(folder)


def test_a_missing_column_or_file_is_named(folder: Path) -> None:
    (folder / "manifest.csv").write_text("image,mask\na.png,a_mask.png")
    with pytest.raises(DatasetError, match="column 'label' is missing"):
        read_dataset(folder)
    write_rows(folder, ["a.png,a_mask.png,,p1,train"])
    (folder / "classes.json").unlink()
    with pytest.raises(DatasetError, match=r"classes.json: missing"):
        read_dataset(folder)
    with pytest.raises(DatasetError, match="no manifest"):
        read_dataset(folder / "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"is not JSON: "),
        ('{"classes": [{"name": "a", "color": [1, 2, 3]}]}', r"'mpp' is missing; it needs "),
        ('{"mpp": 0.5}', r"'classes' is missing; it needs "),
        ('{"classes": ["stroma", "tumour"], "mpp": 0.5}', r"'stroma' is not a class; it needs "),
        ('{"classes": [{"name": "a", "color": [1, 2, 300]}], "mpp": 0.5}', r"color.2: .*255; it needs "),
        ('{"classes": [{"name": "a"}], "mpp": 0.5}', r"color: Field required; it needs "),
        ('{"classes": [{"name": "a", "color": [1, 2, 3]}], "mpp": "fine"}', r".*'fine'; it needs "),
        ("[1]", r".*; it needs "),
    ],
)
def test_what_is_wrong_with_classes_json_is_said_in_a_line(folder: Path, text: str, says: str) -> None:
    (folder / "classes.json").write_text(text)
    with pytest.raises(DatasetError, match=f"classes.json: {says}") as refused:
        read_dataset(folder)
    assert "\n" not in str(refused.value)


def test_a_mask_that_is_no_map_of_ids_is_told_what_it_should_be(folder: Path) -> None:
    Image.fromarray(np.zeros((140, 150), bool)).save(folder / "a_mask.png")
    dataset = read_dataset(folder)
    with pytest.raises(DatasetError, match=r"a_mask.png: .* mode 1; save it as greyscale, 8 bits"):
        dataset.read_mask(dataset.items[0])


def test_an_id_without_a_class_is_named(folder: Path) -> None:
    Image.fromarray(np.full((140, 150), 7, np.uint8)).save(folder / "a_mask.png")
    dataset = read_dataset(folder)
    with pytest.raises(DatasetError, match="holds id 7, but there are only 2 classes; write 1 for the first class"):
        dataset.read_mask(dataset.items[0])


def test_a_damaged_image_is_named(folder: Path) -> None:
    (folder / "b.png").write_text("no image")
    dataset = read_dataset(folder)
    with pytest.raises(DatasetError, match=r"b.png: not a readable image"):
        dataset.read_image(dataset.items[1])


def test_an_image_with_more_text_than_pillow_takes_is_named(folder: Path) -> None:
    text = PngInfo()
    text.add_text("Comment", "x" * (2 << 20), zip=True)
    Image.fromarray(np.zeros((140, 150, 3), np.uint8)).save(folder / "b.png", pnginfo=text)
    dataset = read_dataset(folder)
    with pytest.raises(DatasetError, match=r"b.png: not a readable image \(Decompressed data too large"):
        dataset.read_image(dataset.items[1])


def test_a_mask_of_another_size_is_named_before_any_patch_is_drawn(folder: Path) -> None:
    Image.fromarray(np.ones((150, 140), np.uint8)).save(folder / "a_mask.png")
    dataset = read_dataset(folder)
    with pytest.raises(DatasetError, match=r"a_mask.png: 140 x 150 px, but its image .*a.png is 150 x 140"):
        list(extract_patches(dataset, dataset.split("train")))


def test_a_byte_order_mark_of_excel_does_no_harm(folder: Path) -> None:
    for name in ("manifest.csv", "classes.json"):
        (folder / name).write_text((folder / name).read_text(), encoding="utf-8-sig")
    assert len(read_dataset(folder).items) == 3


def test_a_picture_is_read_whatever_pillow_warns_of_up_to_a_limit_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    dataset = read_dataset(folder)
    assert dataset.read_image(dataset.items[0]).shape == (140, 150, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr("wsi_segment.model.data.dataset.LARGEST_PIXELS", 20_000)
    with pytest.raises(DatasetError, match=r"a.png: 150 x 140 px, more than the 20,000 .* as a pyramidal slide"):
        dataset.read_image(dataset.items[0])


def test_ebhi_seg_is_understood(ebhi_seg: Path) -> None:
    dataset = read_dataset(ebhi_seg)
    assert len(dataset.items) == 1822
    assert [entry.name for entry in dataset.classes][:2] == ["stroma/other", "normal"]
    item = dataset.items[0]
    mask = dataset.read_mask(item)
    assert mask is not None
    assert set(np.unique(mask)) == {1, item.label}
    assert (mask == item.label).mean() == pytest.approx(0.9492, abs=1e-3)
