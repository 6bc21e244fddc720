from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.errors import OutputError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.verify import verify

KINDS = [(version, probabilities) for version in ("0.5", "0.4") for probabilities in (False, True)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    folder = tmp_path_factory.mktemp("store")
    slide = write_slide(folder / "s.tiff", tissue_like(1100, 2300), mpp=0.7)
    made = {}
    for version, probabilities in KINDS:
        run = SegmentOptions(region_size=1024, tissue="none", ome_zarr=version, probabilities=probabilities)  # type: ignore[arg-type]
        out = folder / f"{version}-{probabilities}.zarr"
        segment(slide, make_model(4, "bilinear", mpp=0.7), out, run, network=ChannelNetwork(4))
        made[version, probabilities] = out
    return made


@pytest.fixture(params=KINDS, ids=["0.5", "0.5-probabilities", "0.4", "0.4-probabilities"])
def store(request: pytest.FixtureRequest, stores: dict[tuple[str, bool], Path]) -> Path:
    return stores[request.param]


def attributes(group: Path) -> dict[str, Any]:
    if (group / "zarr.json").exists():
        ome: dict[str, Any] = json.loads((group / "zarr.json").read_text())["attributes"]["ome"]
        return ome
    found: dict[str, Any] = json.loads((group / ".zattrs").read_text())
    return found


def array(store: Path, path: str) -> np.ndarray:
    found = zarr.open_group(store, mode="r")[path]
    assert isinstance(found, zarr.Array)
    return np.asarray(found[:])


def test_every_group_is_valid_ome_zarr(store: Path) -> None:
    groups = [store, store / "labels" / "segmentation"]
    if (store / "probabilities").exists():
        groups.append(store / "probabilities")
    for path in groups:
        yaozarrs.validate_zarr_store(str(path))
        ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))


def test_label_has_names_and_colours_of_all_ids(store: Path) -> None:
    label = attributes(store / "labels" / "segmentation")["image-label"]
    colours = {entry["label-value"]: entry["rgba"] for entry in label["colors"]}
    assert colours == {0: [0, 0, 0, 0], 1: [200, 0, 0, 255], 2: [0, 200, 0, 255], 3: [0, 0, 200, 255]}
    assert [entry["name"] for entry in label["properties"]] == ["not analysed", "red", "green", "blue"]


def test_transforms_are_those_of_pixel_centres(store: Path) -> None:
    for index, dataset in enumerate(attributes(store / "labels" / "segmentation")["multiscales"][0]["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale["scale"] == pytest.approx([0.7 * 2**index] * 2, rel=1e-3)
        assert translation["translation"] == pytest.approx([0.7 * (2**index - 1) / 2] * 2, rel=1e-3, abs=1e-9)


def test_all_kinds_hold_the_same_class_map(stores: dict[tuple[str, bool], Path]) -> None:
    expected = array(stores["0.5", False], "labels/segmentation/0")
    for (version, _), store in stores.items():
        np.testing.assert_array_equal(array(store, "labels/segmentation/0"), expected)
        for level in range(4):
            if version == "0.4":  # QuPath looks at the root
                np.testing.assert_array_equal(array(store, str(level)), array(store, f"labels/segmentation/{level}"))


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_probabilities_go_with_the_classes(stores: dict[tuple[str, bool], Path], version: str) -> None:
    store = stores[version, True]
    prefix = "probabilities/" if version == "0.4" else ""
    planes, ids = array(store, f"{prefix}0").astype(int), array(store, "labels/segmentation/0")
    assert planes.shape == (3, *ids.shape)
    assert np.abs(planes.sum(axis=0) - 255).max() <= 2
    chosen = np.take_along_axis(planes, ids[None].astype(int) - 1, axis=0)[0]
    assert (planes.max(axis=0) - chosen).max() <= 1
    omero = attributes(store / prefix.strip("/"))["omero"]
    assert [channel["label"] for channel in omero["channels"]] == ["red", "green", "blue"]
    assert array(store, f"{prefix}3").shape == (3, *array(store, "labels/segmentation/3").shape)


def test_05_root_shows_the_levels_of_the_label(stores: dict[tuple[str, bool], Path]) -> None:
    root = json.loads((stores["0.5", False] / "zarr.json").read_text())["attributes"]
    paths = [dataset["path"] for dataset in root["ome"]["multiscales"][0]["datasets"]]
    assert paths == [f"labels/segmentation/{index}" for index in range(4)]
    assert root["wsi_segment"]["model"]["name"] == "channels"
    assert root["wsi_segment"]["slide"]["mpp_source"] == "TIFF resolution"


def test_04_states_its_pixel_size_for_qupath(stores: dict[tuple[str, bool], Path]) -> None:
    root = ET.parse(stores["0.4", False] / "OME" / "METADATA.ome.xml").getroot()
    pixels = root.find(".//{*}Pixels")
    assert pixels is not None
    assert float(pixels.attrib["PhysicalSizeX"]) == pytest.approx(0.7, rel=1e-3)
    assert (pixels.attrib["SizeX"], pixels.attrib["SizeY"]) == ("2300", "1100")


def test_a_region_writes_whole_shards_of_its_own(stores: dict[tuple[str, bool], Path]) -> None:
    label = stores["0.5", False] / "labels" / "segmentation"
    level0 = json.loads((label / "0" / "zarr.json").read_text())
    assert level0["chunk_grid"]["configuration"]["chunk_shape"] == [1024, 1024]
    assert level0["codecs"][0]["name"] == "sharding_indexed"
    assert level0["codecs"][0]["configuration"]["chunk_shape"] == [512, 512]
    shards = label / "0" / "c"
    written = sorted(path.relative_to(shards).as_posix() for path in shards.rglob("*") if path.is_file())
    assert written == ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]


def test_a_whole_store_is_found_whole(store: Path) -> None:
    found = verify(store)
    assert found.damage == ()
    assert (found.regions, found.levels) == (6, 4)


HARMS = ("flip", "cut", "remove")


def do_harm(path: Path, harm: str) -> None:
    """Damage a file of data."""
    content = path.read_bytes()
    if harm == "remove":
        path.unlink()
        return
    changed = bytearray(content if harm == "flip" else content[: len(content) // 2])
    changed[len(changed) // 3] ^= 0x55
    path.write_bytes(bytes(changed))


def decoded(store: Path, file: Path) -> bytes:
    """The pixels of the array that a file of data belongs to; nothing where they cannot be decoded."""
    folder = next(parent for parent in file.parents if (parent / "zarr.json").exists() or (parent / ".zarray").exists())
    try:
        return array(store, folder.relative_to(store).as_posix()).tobytes()
    except Exception:
        return b""


def test_damage_to_any_pixel_is_noticed(store: Path) -> None:
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name[0].isdigit()]
    noticed = 0
    for index, path in enumerate(files[:: 1 + len(files) // 12]):
        before, content = decoded(store, path), path.read_bytes()
        do_harm(path, HARMS[index % 3])
        # a Zarr v2 chunk reaches over the mask's edge, and what lies there is nobody's pixel
        differs, damage = decoded(store, path) != before, verify(store).damage
        path.write_bytes(content)
        assert bool(damage) == differs, path
        noticed += differs
    assert noticed
    assert verify(store).damage == ()


def test_a_record_that_was_changed_is_noticed(stores: dict[tuple[str, bool], Path]) -> None:
    for store, name in ((stores["0.5", False], "zarr.json"), (stores["0.4", False], ".zattrs")):
        path = store / "labels" / "segmentation" / "0" / name
        content = path.read_text()
        path.write_text(content.replace('"0,1"', '"7,7"'))
        found = verify(store).damage
        path.write_text(content)
        assert "record of regions differs" in found[0]
        assert "does not fit the mask: 0,1" in found[1]


def metadata_files(store: Path) -> list[Path]:
    return [path for path in sorted(store.rglob("*")) if path.is_file() and not path.name[0].isdigit()]


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_damage_to_any_metadata_is_noticed(stores: dict[tuple[str, bool], Path], version: str) -> None:
    store = stores[version, True]
    for index, path in enumerate(metadata_files(store)):
        content, name = path.read_bytes(), path.relative_to(store).as_posix()
        if index % 3 == 0:
            path.unlink()
        elif index % 3 == 1:
            path.write_bytes(content[: len(content) // 2])
        else:  # what still is valid JSON or XML: another size, version, colour or checksum
            at = max(content.rfind(bytes([digit])) for digit in b"0123456789")
            path.write_bytes(content[:at] + (b"3" if content[at : at + 1] != b"3" else b"2") + content[at + 1 :])
        try:
            noticed = verify(store).damage
        except OutputError as error:  # it cannot even be opened
            noticed = (str(error),)
        path.write_bytes(content)
        assert any(name in line or "not a mask" in line or "record" in line for line in noticed), name
    assert verify(store).damage == ()


def test_what_the_run_did_not_write_is_noticed(store: Path) -> None:
    strange = store / "labels" / "segmentation" / "9" / "zarr.json"
    strange.parent.mkdir()
    strange.write_text("{}")
    found = verify(store).damage
    shutil.rmtree(strange.parent)
    assert any("labels/segmentation/9/zarr.json: was not written by the run" in line for line in found)


def test_what_is_no_mask_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a mask"):
        verify(tmp_path)
