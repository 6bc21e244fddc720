from __future__ import annotations

import json
from pathlib import Path

import ome_zarr_models
import pytest
import yaozarrs
import zarr
from made import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.inference.engine import segment
from wsi_segment.inference.run import Run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    slide = write_slide(folder / "s.tiff", tissue_like(1100, 2300), mpp=0.7)
    segment(
        slide, make_model(mpp=0.7), folder / "m.zarr", Run(region_size=1024, tissue="none"), network=ChannelNetwork()
    )
    return folder / "m.zarr"


def test_root_and_label_are_valid_ome_zarr(store: Path) -> None:
    for path in (store, store / "labels" / "segmentation"):
        yaozarrs.validate_zarr_store(str(path))
        ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))


def test_label_has_names_and_colours_of_all_ids(store: Path) -> None:
    label = json.loads((store / "labels" / "segmentation" / "zarr.json").read_text())["attributes"]["ome"]
    assert label["version"] == "0.5"
    colours = {entry["label-value"]: entry["rgba"] for entry in label["image-label"]["colors"]}
    assert colours == {0: [0, 0, 0, 0], 1: [200, 0, 0, 255], 2: [0, 200, 0, 255], 3: [0, 0, 200, 255]}
    assert [entry["name"] for entry in label["image-label"]["properties"]] == ["not analysed", "red", "green", "blue"]


def test_transforms_are_those_of_pixel_centres(store: Path) -> None:
    label = json.loads((store / "labels" / "segmentation" / "zarr.json").read_text())["attributes"]["ome"]
    for index, dataset in enumerate(label["multiscales"][0]["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale["scale"] == pytest.approx([0.7 * 2**index] * 2, rel=1e-3)
        assert translation["translation"] == pytest.approx([0.7 * (2**index - 1) / 2] * 2, rel=1e-3, abs=1e-9)


def test_root_shows_the_levels_of_the_label(store: Path) -> None:
    root = json.loads((store / "zarr.json").read_text())["attributes"]
    paths = [dataset["path"] for dataset in root["ome"]["multiscales"][0]["datasets"]]
    assert paths == [f"labels/segmentation/{index}" for index in range(4)]
    assert root["wsi_segment"]["model"]["name"] == "channels"
    assert root["wsi_segment"]["slide"]["mpp_source"] == "openslide.mpp-x/y"


def test_a_region_writes_whole_shards_of_its_own(store: Path) -> None:
    level0 = json.loads((store / "labels" / "segmentation" / "0" / "zarr.json").read_text())
    assert level0["chunk_grid"]["configuration"]["chunk_shape"] == [1024, 1024]
    assert level0["codecs"][0]["name"] == "sharding_indexed"
    assert level0["codecs"][0]["configuration"]["chunk_shape"] == [512, 512]
    shards = store / "labels" / "segmentation" / "0" / "c"
    written = sorted(path.relative_to(shards).as_posix() for path in shards.rglob("*") if path.is_file())
    assert written == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]
