from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import ChannelNetwork, class_map, make_model, tissue_like, write_slide
from wsi_segment.errors import DatasetError, SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.evaluation.annotations import read_annotations
from wsi_segment.inference.evaluation.mask_scores import evaluate_mask
from wsi_segment.inference.evaluation.slide_dataset import read_training_data, tile_spans
from wsi_segment.inference.mask.geojson import write_geojson
from wsi_segment.model.data.patches import extract_patches


def square(x: float, y: float, side: float, name: str | None, **more: Any) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    described = {"classification": {"name": name, **more}} if name else {}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": described}


def write_annotations(path: Path, *features: dict[str, Any]) -> Path:
    text = json.dumps({"type": "FeatureCollection", "features": list(features)})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    for number in range(3):
        write_slide(tmp_path / f"s{number}.tiff", tissue_like(1200, 1600, seed=number), mpp=0.5)
        write_annotations(
            tmp_path / f"s{number}.geojson",
            square(200, 200, 400, "stroma", color=[10, 20, 30]),
            square(300, 300, 100, "tumour", colorRGB=-3670016),
            square(0, 0, 50, "Ignore*"),
            square(700, 700, 50, None),
        )
    return tmp_path


def test_a_folder_of_slides_with_geojson_is_training_data(slides: Path) -> None:
    dataset = read_training_data(slides, {"mpp": 1.0})
    assert [entry.name for entry in dataset.classes] == ["stroma", "tumour"]
    assert dataset.classes[0].color == (10, 20, 30)
    assert dataset.classes[1].color == (200, 0, 0)
    assert {item.split for item in dataset.items} == {"train", "val", "test"}
    item = dataset.items[0]
    assert item.box == (0, 0, 512, 600)
    pixels, mask = dataset.read_image(item), dataset.read_mask(item)
    assert mask is not None
    assert pixels.shape == (600, 512, 3)
    expected = np.zeros((600, 512), np.uint8)
    expected[100:300, 100:300] = 1
    expected[150:200, 150:200] = 2  # the later outline counts
    np.testing.assert_array_equal(mask, expected)
    patches = list(extract_patches(dataset, [item], "images"))
    assert {patch.classes for patch in patches} == {(1,), (1, 2)}


@pytest.mark.parametrize("name", ["Ignore*", "Exclude"])
def test_nothing_is_known_of_what_is_to_be_ignored(slides: Path, name: str) -> None:
    for number in range(3):
        write_annotations(
            slides / f"s{number}.geojson",
            square(300, 300, 100, name),
            square(200, 200, 400, "stroma"),
            square(1300, 1100, 50, name),
        )
    dataset = read_training_data(slides, {"mpp": 1.0})
    assert [entry.name for entry in dataset.classes] == ["stroma"]
    mask = dataset.read_mask(dataset.items[0])
    expected = np.zeros((600, 512), np.uint8)
    expected[100:300, 100:300] = 1
    expected[150:200, 150:200] = 0  # though the other outline comes later
    np.testing.assert_array_equal(mask, expected)
    assert {item.box for item in dataset.items} == {(0, 0, 512, 600)}  # not where there is nothing else


def halo(layers: dict[str, list[tuple[str, str, list[tuple[int, int]]]]]) -> str:
    """Return a file of HALO with these regions (type, whether it is a hole, vertices) in each layer."""
    text = ""
    for name, regions in layers.items():
        shapes = ""
        for kind, hole, points in regions:
            vertices = "".join(f'<V X="{x}" Y="{y}"/>' for x, y in points)
            shapes += (
                f'<Region Type="{kind}" HasEndcaps="0" NegativeROA="{hole}"><Vertices>{vertices}</Vertices></Region>'
            )
        text += f'<Annotation LineColor="255" Name="{name}" Visible="True"><Regions>{shapes}</Regions></Annotation>'
    return f"<Annotations>{text}</Annotations>"


def test_a_folder_of_slides_with_halo_annotations_is_training_data(slides: Path) -> None:
    drawn = [(200, 200), (600, 200), (600, 600), (200, 600)]
    hole = [(300, 300), (400, 300), (400, 400), (300, 400)]
    for number in range(3):
        (slides / f"s{number}.geojson").unlink()
        layers = {
            "stroma": [("Polygon", "0", drawn), ("Polygon", "1", hole), ("Ruler", "0", [(0, 0), (9, 9)])],
            "tumour": [("Rectangle", "0", [(0, 0), (100, 80)])],
        }
        (slides / f"s{number}.annotations").write_text(halo(layers), encoding="utf-8-sig")
    dataset = read_training_data(slides, {"mpp": 1.0})
    assert [entry.name for entry in dataset.classes] == ["stroma", "tumour"]
    mask = dataset.read_mask(dataset.items[0])
    expected = np.zeros((600, 512), np.uint8)
    expected[100:300, 100:300] = 1
    expected[150:200, 150:200] = 0
    expected[:40, :50] = 2
    np.testing.assert_array_equal(mask, expected)
    assert len(dataset.left_out) == 3
    assert all(".annotations: 1 ruler, which has no area" in line for line in dataset.left_out)


def test_pixels_are_those_that_the_engine_sees(slides: Path) -> None:
    dataset = read_training_data(slides, {"mpp": 1.0})
    item = dataset.items[0]
    whole = tissue_like(1200, 1600, seed=int(item.image.stem[1]))
    halved = whole.reshape(600, 2, 800, 2, 3).mean(axis=(1, 3))
    assert np.abs(dataset.read_image(item) - halved[:600, :512]).max() <= 1


def test_a_manifest_may_name_slides_and_annotations(slides: Path) -> None:
    rows = ["image,mask,label,group,split"]
    rows += [f"s{n}.tiff,s{n}.geojson,,case{n},{split}" for n, split in enumerate(("train", "train", "val"))]
    (slides / "manifest.csv").write_text("\n".join(rows))
    classes = [{"name": "stroma", "color": [1, 1, 1]}, {"name": "tumour", "color": [2, 2, 2]}]
    (slides / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    dataset = read_training_data(slides, {})
    assert {item.group for item in dataset.split("train")} == {"case0", "case1"}
    assert dataset.read_mask(dataset.items[0]) is not None


def test_slides_without_a_pixel_size_are_given_one(slides: Path) -> None:
    stated = read_training_data(slides, {"mpp": 1.0})
    for number in range(3):
        write_slide(slides / f"s{number}.tiff", tissue_like(1200, 1600, seed=number), mpp=None)
    with pytest.raises(SlideError, match=r"give it .* as `data slide_mpp=0.5` .* in a column mpp of the manifest"):
        read_training_data(slides, {"mpp": 1.0})
    given = read_training_data(slides, {"mpp": 1.0, "slide_mpp": 0.5})
    assert [item.box for item in given.items] == [item.box for item in stated.items]
    np.testing.assert_array_equal(given.read_image(given.items[0]), stated.read_image(stated.items[0]))


def test_a_manifest_gives_each_slide_its_pixel_size(slides: Path) -> None:
    write_slide(slides / "s1.tiff", tissue_like(1200, 1600, seed=1), mpp=None)
    rows = ["image;mask;label;group;split;mpp", "s0.tiff;s0.geojson;;a;train;", "s1.tiff;s1.geojson;;b;val;0,25"]
    (slides / "manifest.csv").write_text("\n".join(rows))
    classes = [{"name": "stroma", "color": [1, 1, 1]}, {"name": "tumour", "color": [2, 2, 2]}]
    (slides / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    dataset = read_training_data(slides, {})
    assert {item.slide_mpp for item in dataset.split("train")} == {None}
    assert [item.box for item in dataset.split("val")] == [(0, 0, 400, 300)]


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (60, [(0, 128)]),
        (512, [(0, 512)]),
        (639, [(0, 639)]),
        (640, [(0, 512), (512, 640)]),
        (1200, [(0, 512), (512, 1024), (1024, 1200)]),
    ],
)
def test_tiles_of_a_slide_hold_whole_windows_and_no_pixel_twice(length: int, spans: list[tuple[int, int]]) -> None:
    assert tile_spans(length) == spans


def test_each_annotated_pixel_of_a_slide_counts_once(slides: Path) -> None:
    for number in range(3):
        write_annotations(slides / f"s{number}.geojson", square(900, 500, 600, "stroma"), square(0, 0, 90, "tumour"))
    dataset = read_training_data(slides, {"mpp": 1.0})
    masks = [dataset.read_mask(item) for item in dataset.items if item.group == "s0"]
    counts = np.sum([np.bincount(mask.ravel(), minlength=3) for mask in masks if mask is not None], axis=0)
    assert counts.tolist() == [600 * 800 - 300 * 300 - 45 * 45, 300 * 300, 45 * 45]


def test_what_is_wrong_with_a_folder_of_slides_is_said(slides: Path) -> None:
    with pytest.raises(DatasetError, match=r"`data mpp=1.0`"):
        read_training_data(slides, {})
    write_annotations(slides / "lost.geojson", square(0, 0, 9, "stroma"))
    with pytest.raises(DatasetError, match=r"lost.geojson: no slide of that name"):
        read_training_data(slides, {"mpp": 1.0})
    (slides / "lost.geojson").unlink()
    (slides / "s1.geojson").write_text("{")
    with pytest.raises(DatasetError, match=r"s1.geojson: not GeoJSON"):
        read_training_data(slides, {"mpp": 1.0})


BACH_XML = """<?xml version="1.0"?>
<Annotations MicronsPerPixel="0.467">
 <Annotation Id="1"><Regions>
  <Region Id="1"><Attributes><Attribute Name="Description" Value="Carcinoma invasive"/></Attributes>
   <Vertices>
    <Vertex X="100.5" Y="100" Z="0"/><Vertex X="500" Y="100"/><Vertex X="500" Y="500"/><Vertex X="100" Y="500"/>
   </Vertices></Region>
  <Region Id="2"><Attributes><Attribute Id="1" Name="" Text="carcinoma IN SITU"/></Attributes>
   <Vertices><Vertex X="200" Y="200"/><Vertex X="300" Y="200"/><Vertex X="300" Y="300"/><Vertex X="200" Y="300"/>
   </Vertices></Region>
  <Region Id="3"><Attributes/><Vertices><Vertex X="1" Y="1"/></Vertices></Region>
 </Regions></Annotation>
</Annotations>
"""


def test_bach_slides_are_outlined_in_xml_and_normal_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "WSI").mkdir()
    for number in (1, 2, 3):
        written = write_slide(tmp_path / f"A0{number}.tiff", tissue_like(1100, 1100), mpp=0.467)
        written.rename(tmp_path / "WSI" / f"A0{number}.svs")
        (tmp_path / "WSI" / f"A0{number}.xml").write_text(BACH_XML)
    assert [entry.name for entry in read_annotations(tmp_path / "WSI" / "A01.xml")] == [
        "Carcinoma invasive",
        "carcinoma IN SITU",
    ]
    dataset = read_training_data(tmp_path, {"mpp": 0.934})
    mask = dataset.read_mask(dataset.items[0])
    assert mask is not None
    assert mask[75, 200] == 4
    assert mask[125, 125] == 3
    assert mask[20, 20] == 1
    (tmp_path / "WSI" / "A01.svs").unlink()
    with pytest.raises(DatasetError, match=r"A01.svs: missing, though A01.xml outlines it"):
        read_training_data(tmp_path, {})
    (tmp_path / "WSI" / "A02.xml").write_text("<Annotations><Region></Annotations>")
    with pytest.raises(DatasetError, match=r"A02.xml: not ImageScope XML"):
        read_annotations(tmp_path / "WSI" / "A02.xml")


def write_bach(folder: Path, pixels: np.ndarray, xml: str = BACH_XML) -> Path:
    (folder / "WSI").mkdir()
    for number in (1, 2, 3):
        write_slide(folder / "slide.tiff", pixels, mpp=0.467).rename(folder / "WSI" / f"A0{number}.svs")
        (folder / "WSI" / f"A0{number}.xml").write_text(xml)
    return folder


def test_tissue_of_a_bach_slide_that_no_outline_touches_is_normal(tmp_path: Path) -> None:
    pixels = tissue_like(1100, 3300)
    pixels[:, 1900:] = 255
    dataset = read_training_data(write_bach(tmp_path, pixels), {"mpp": 0.934})
    assert [item.box for item in dataset.items if item.group == "A01"] == [(0, 0, 512, 550), (512, 0, 1024, 550)]
    without_outline = dataset.read_mask(dataset.items[1])
    assert without_outline is not None
    assert (without_outline == 1).all()


def test_a_bach_outline_of_unknown_class_is_named(tmp_path: Path) -> None:
    folder = write_bach(tmp_path, tissue_like(600, 600), BACH_XML.replace("carcinoma IN SITU", "Lymph node"))
    with pytest.raises(DatasetError, match=r"A01.xml: class 'Lymph node' is not among normal, benign, in-situ"):
        read_training_data(folder, {"mpp": 0.934})


def test_a_bach_slide_without_its_outlines_is_named_and_one_that_never_had_any_left_out(tmp_path: Path) -> None:
    folder = write_bach(tmp_path, tissue_like(600, 600))
    (folder / "WSI" / "A01.svs").rename(folder / "WSI" / "01.svs")
    (folder / "WSI" / "A01.xml").unlink()
    assert {item.group for item in read_training_data(folder, {}).items} == {"A02", "A03"}
    (folder / "WSI" / "A02.xml").unlink()
    with pytest.raises(DatasetError, match=r"A02.xml: missing"):
        read_training_data(folder, {})


def test_a_mask_agrees_with_its_own_outlines(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.tiff", tissue_like(1100, 1500), mpp=0.5)
    out = tmp_path / "m.zarr"
    segment(slide, make_model(), out, SegmentOptions(), network=ChannelNetwork())
    write_geojson(tmp_path / "m.geojson.gz", out, simplify_um=0.0)
    figures = evaluate_mask(out, tmp_path / "m.geojson.gz").as_dict(ordered=True)
    assert figures["macro_f1"] > 0.999  # the outlines follow the pixels
    assert figures["bach_score"] > 0.999
    assert figures["annotated_mm2"] == pytest.approx(np.count_nonzero(class_map(out)) / 1e6, rel=0.02)


def test_a_mask_is_compared_where_it_is_annotated_only(tmp_path: Path) -> None:
    pixels = np.full((1200, 1200, 3), (220, 40, 40), np.uint8)
    pixels[:, 600:] = (40, 220, 40)
    slide = write_slide(tmp_path / "s.tiff", pixels, mpp=0.5)
    out = tmp_path / "m.zarr"
    segment(slide, make_model(), out, SegmentOptions(tissue="none", overlap=0.0), network=ChannelNetwork())
    truth = write_annotations(tmp_path / "t.geojson", square(200, 200, 200, "red"), square(800, 200, 200, "blue"))
    result = evaluate_mask(out, truth)
    assert result.confusion.tolist() == [[10_000, 0, 0, 0], [0, 0, 0, 0], [0, 10_000, 0, 0]]
    assert result.as_dict(ordered=False)["accuracy"] == 0.5
    write_annotations(truth, square(200, 200, 200, "violet"))
    with pytest.raises(DatasetError, match=r"class 'violet' is not the mask's; its classes are red, green, blue"):
        evaluate_mask(out, truth)
    write_annotations(truth, square(90_000, 200, 200, "red"))
    with pytest.raises(DatasetError, match=r"its outlines lie beside the mask m.zarr: they span x 90000 to 90200"):
        evaluate_mask(out, truth)
    write_annotations(truth, square(200, 200, 200, None))
    with pytest.raises(DatasetError, match=r"no outline with a class lies on the mask m.zarr"):
        evaluate_mask(out, truth)


def test_annotations_that_lie_beside_their_slide_are_refused_and_lines_are_told(slides: Path) -> None:
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "properties": {}}
    write_annotations(slides / "s1.geojson", square(200, 200, 400, "stroma"), line, square(9000, 0, 50, "stroma"))
    left_out = read_training_data(slides, {"mpp": 1.0}).left_out
    said = "1 line, which has no area; 1 of 2 outlines, which lies beside the slide"
    assert left_out == (f"left out of {slides / 's1.geojson'}: {said}",)
    write_annotations(slides / "s1.geojson", square(9000, 0, 50, "stroma"))
    with pytest.raises(DatasetError, match=r"s1.geojson: its outlines lie beside the slide s1.tiff: they span x 9000"):
        read_training_data(slides, {"mpp": 1.0})


def test_names_of_objects_are_classes_where_the_dataset_names_them(slides: Path) -> None:
    for number in range(3):
        named = square(200, 200, 400, None)
        named["properties"]["name"] = "stroma"
        write_annotations(slides / f"s{number}.geojson", named)
    with pytest.raises(DatasetError, match=r"no annotation has a class; .* or name stroma in classes.json"):
        read_training_data(slides, {"mpp": 1.0})
    (slides / "classes.json").write_text(json.dumps({"classes": [{"name": "stroma", "color": [1, 1, 1]}], "mpp": 1.0}))
    dataset = read_training_data(slides, {})
    mask = dataset.read_mask(dataset.items[0])
    assert mask is not None
    assert mask[150, 150] == 1
