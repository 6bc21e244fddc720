"""Tiny folders in the exact on-disk form of the public datasets, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_segment.errors import DatasetError, InputError
from wsi_segment.model.data.dataset import SPLITS
from wsi_segment.model.data.loaders import gleason2019
from wsi_segment.model.data.loaders.gleason2019 import fuse_by_majority
from wsi_segment.model.data.loaders.manifest import read_dataset
from wsi_segment.model.data.patches import PatchKind, extract_patches

RNG = np.random.default_rng(0)


def picture(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(100, 220, (height, width, 3), dtype=np.uint8)).save(path)
    return path


# BACH


@pytest.fixture
def bach(tmp_path: Path) -> Path:
    rows = []
    for label, prefix in (("Normal", "n"), ("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv")):
        for number in range(1, 6):
            name = f"{prefix}{number:03}.tif"
            picture(tmp_path / "Photos" / label / name, 256, 192)
            rows.append(f"{name},{label}")
    (tmp_path / "Photos" / "microscopy_ground_truth.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_bach_photos_have_the_label_of_the_csv(bach: Path) -> None:
    dataset = read_dataset(bach)
    assert [entry.name for entry in dataset.classes] == ["normal", "benign", "in-situ", "invasive"]
    assert (dataset.mpp, dataset.ordered, len(dataset.items)) == (0.42, True, 20)
    assert {item.image.parent.name: item.label for item in dataset.items} == {
        "Normal": 1,
        "Benign": 2,
        "InSitu": 3,
        "Invasive": 4,
    }
    assert {item.split for item in dataset.items} == set(SPLITS)
    assert dataset.read_image(dataset.items[0]).shape == (192, 256, 3)
    patches = list(extract_patches(dataset, dataset.items[:1]))
    assert {patch.kind for patch in patches} == {PatchKind.CLASSIFICATION}


def test_bach_photos_are_reduced_to_the_pixel_size_asked_for(bach: Path) -> None:
    dataset = read_dataset(bach, {"mpp": 0.84})
    assert dataset.mpp == 0.84
    assert dataset.read_image(dataset.items[0]).shape == (96, 128, 3)


def test_damaged_bach_folders_are_named(bach: Path) -> None:
    truth = bach / "Photos" / "microscopy_ground_truth.csv"
    whole = truth.read_text()
    truth.write_text(whole.replace("n001.tif,Normal", "n001.tif,Healthy"))
    with pytest.raises(DatasetError, match=r"microscopy_ground_truth.csv, line 1: .*Healthy"):
        read_dataset(bach)
    truth.write_text(whole)
    (bach / "Photos" / "InSitu" / "is002.tif").unlink()
    with pytest.raises(DatasetError, match=r"is002.tif: missing"):
        read_dataset(bach)
    with pytest.raises(InputError, match=r"`data level`: BACH has no such option; it has: mpp"):
        read_dataset(bach, {"level": 1})


# Gleason2019


@pytest.fixture(params=["Train Imgs", "Train_imgs"])
def gleason(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for slide in range(1, 6):
        for core in (3, 141):
            stem = f"slide{slide:03}_core{core:03}"
            picture(tmp_path / request.param / f"{stem}.jpg", 160, 140)
            for expert in (1, 3, 4):
                if expert == 4 and core == 3:
                    continue  # not every expert marked every core
                values = np.ones((140, 160), np.uint8)
                values[:20] = 0
                values[40:, 80:] = 3 if expert != 3 else 4
                values[100:, :40] = 6
                folder = tmp_path / f"Maps{expert}_T"
                folder.mkdir(exist_ok=True)
                Image.fromarray(values).save(folder / f"{stem}_classimg_nonconvex.png")
    return tmp_path


@pytest.mark.parametrize("fusion", ["staple", "majority"])
def test_gleason_maps_of_several_experts_are_fused(gleason: Path, fusion: str) -> None:
    dataset = read_dataset(gleason, {"fusion": fusion})
    assert len(dataset.items) == 10
    assert len({item.group for item in dataset.items}) == 5
    three = next(item for item in dataset.items if "core141" in item.image.name)
    mask = dataset.read_mask(three)
    assert mask is not None
    assert mask.shape == (140, 160)
    assert (mask[:20] == 0).all()
    assert (mask[20:40] == 1).all()
    assert (mask[40:, 80:] == 2).all()  # two of three say grade 3
    assert (mask[100:, :40] == 1).all()  # disputed is benign


def test_disputed_tissue_may_stay_unlabelled(gleason: Path) -> None:
    dataset = read_dataset(gleason, {"fusion": "majority", "disputed": "unlabelled"})
    mask = dataset.read_mask(dataset.items[0])
    assert mask is not None
    assert (mask[100:, :40] == 0).all()


def test_fusing_by_hand() -> None:
    maps = [np.array([[row]], np.uint8) for row in (1, 2, 2)]
    assert fuse_by_majority(maps).item() == 2
    assert fuse_by_majority([np.array([[0, 0, 3]], np.uint8), np.array([[0, 1, 1]], np.uint8)]).tolist() == [[0, 1, 1]]


def test_the_majority_may_say_that_a_pixel_has_no_label() -> None:
    votes = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 2, 2], [0, 2, 2], [2, 2, 3]], np.uint8)
    assert fuse_by_majority([row[None] for row in votes]).tolist() == [[0, 2, 0]]


def test_maps_are_fused_once_however_often_a_core_is_read(gleason: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = []

    def count(maps: list[np.ndarray]) -> np.ndarray:
        fused.append(maps)
        return fuse_by_majority(maps)

    monkeypatch.setattr(gleason2019, "fuse_by_majority", count)
    dataset = read_dataset(gleason, {"fusion": "majority"})
    first, again = dataset.read_mask(dataset.items[0]), dataset.read_mask(dataset.items[0])
    assert first is not None
    np.testing.assert_array_equal(first, again)
    assert len(fused) == 1


def test_no_core_is_decoded_for_its_size(gleason: Path) -> None:
    dataset = read_dataset(gleason, {"fusion": "majority"})
    item = dataset.items[0]
    item.image.write_bytes(item.image.read_bytes()[:700])  # its header is whole, its pixels are gone
    assert dataset.image_shape(item) == (140, 160)
    assert dataset.read_mask(item) is not None
    with pytest.raises(DatasetError, match="not a readable image"):
        dataset.read_image(item)


def test_damaged_gleason_folders_are_named(gleason: Path) -> None:
    core = "slide002_core003"
    first = gleason / "Maps1_T" / f"{core}_classimg_nonconvex.png"
    images = next(path for path in gleason.iterdir() if path.name.startswith("Train"))

    def read() -> None:
        dataset = read_dataset(gleason, {"fusion": "majority"})
        dataset.read_mask(next(item for item in dataset.items if item.image.stem == core))

    Image.fromarray(np.full((140, 160), 7, np.uint8)).save(first)
    with pytest.raises(DatasetError, match=rf"{core}_classimg_nonconvex.png: holds the value 7"):
        read()
    Image.fromarray(np.ones((10, 12), np.uint8)).save(first)
    with pytest.raises(DatasetError, match=r"12 x 10 px, but its core is 160 x 140"):
        read()
    for path in gleason.glob(f"Maps*/{core}*"):
        path.unlink()
    with pytest.raises(DatasetError, match=rf"{core}_classimg_nonconvex.png: missing"):
        read()
    picture(images / "core1.jpg", 10, 10)
    with pytest.raises(DatasetError, match=r"core1.jpg: not named"):
        read()


# DigestPath2019

NAME = "2018-00151-lv1-{}-8320-2000-1500"


@pytest.fixture
def digestpath(tmp_path: Path) -> Path:
    for case, x in (("2018 00151", 1), ("2018 00151", 2), ("D201-3a B", 3), ("x-1", 4)):
        stem = f"{case}-lv1-{x}-8320-300-200"
        picture(tmp_path / "tissue-train-pos-v1" / f"{stem}.jpg", 300, 200)
        mask = np.zeros((200, 300), np.uint8)
        mask[:, 150:] = 255
        Image.fromarray(mask).save(tmp_path / "tissue-train-pos-v1" / f"{stem}_mask.jpg", quality=60)
    picture(tmp_path / "tissue-train-neg" / "neg 7-lv1-0-0-300-200.jpg", 300, 200)
    return tmp_path


def test_digestpath_masks_are_divided_after_resizing(digestpath: Path) -> None:
    dataset = read_dataset(digestpath, {"size": 256})
    assert len(dataset.items) == 5
    assert {item.group for item in dataset.items} == {"2018 00151", "D201-3a B", "x-1", "neg 7"}
    item = dataset.items[0]
    mask = dataset.read_mask(item)
    assert mask is not None
    assert dataset.read_image(item).shape == (256, 256, 3)
    assert set(np.unique(mask)) == {1, 2}
    assert (mask[:, :126] == 1).all()
    assert (mask[:, 130:] == 2).all()
    negative = dataset.items[-1]
    assert (negative.mask, negative.label) == (None, 1)
    assert read_dataset(digestpath, {"size": 0}).read_image(item).shape == (200, 300, 3)


def test_damaged_digestpath_folders_are_named(digestpath: Path) -> None:
    folder = digestpath / "tissue-train-pos-v1"
    mask = folder / "x-1-lv1-4-8320-300-200_mask.jpg"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(mask)
    dataset = read_dataset(digestpath)
    with pytest.raises(DatasetError, match=r"x-1.*_mask.jpg: 30 x 20 px, but its image is 300 x 200"):
        dataset.read_mask(next(item for item in dataset.items if item.mask == mask))
    mask.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"x-1.*_mask.jpg: not a readable image"):
        dataset.read_mask(next(item for item in dataset.items if item.mask == mask))
    mask.unlink()
    with pytest.raises(DatasetError, match=r"x-1.*_mask.jpg: missing"):
        read_dataset(digestpath)
    mask.with_name(mask.name.replace("_mask", "")).unlink()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(mask)
    with pytest.raises(DatasetError, match=r"x-1-lv1-4-8320-300-200.jpg: missing, though"):
        read_dataset(digestpath)


def test_no_case_is_on_two_sides(gleason: Path) -> None:
    dataset = read_dataset(gleason)
    by_group = {
        item.group: {other.split for other in dataset.items if other.group == item.group} for item in dataset.items
    }
    assert all(len(splits) == 1 for splits in by_group.values())
    assert {item.split for item in dataset.items} == set(SPLITS)
