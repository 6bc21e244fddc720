"""Masks opened by the readers of viewers, without a window: labels with their colours, at the right place."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic import ChannelNetwork, class_map, make_model, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment

pytestmark = pytest.mark.filterwarnings("ignore")  # what other projects' code warns of is not ours to mend
MPP = 0.7


@pytest.fixture(scope="module", params=["0.5", "0.4"])
def mask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewers")
    slide = write_slide(folder / "s.tiff", tissue_like(1100, 1500), mpp=MPP)
    run = SegmentOptions(ome_zarr=request.param)
    segment(slide, make_model(mpp=MPP), folder / "m.zarr", run, network=ChannelNetwork())
    return folder / "m.zarr"


def test_ome_zarr_finds_labels_with_colours_and_scales(mask: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        io = pytest.importorskip("ome_zarr.io", reason="the readers of viewers are in the extra [viewers]")
        reader = pytest.importorskip("ome_zarr.reader")
    location = io.parse_url(str(mask))
    assert location is not None
    nodes = {Path(str(node.zarr)).name or str(node.zarr): node for node in reader.Reader(location)()}
    labels = next(node for node in nodes.values() if "color" in node.metadata and node.data)
    np.testing.assert_array_equal(np.asarray(labels.data[0]).squeeze(), class_map(mask))
    colours = {int(key): np.round(np.asarray(value) * 255).tolist() for key, value in labels.metadata["color"].items()}
    assert colours[1] == [200, 0, 0, 255]
    assert colours[3] == [0, 0, 200, 255]
    scale = labels.metadata["coordinateTransformations"][0][0]["scale"]
    assert scale[-2:] == pytest.approx([MPP, MPP], rel=1e-3)


def test_napari_shows_labels_in_their_place_and_colours(mask: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plugin = pytest.importorskip("napari_ome_zarr", reason="the readers of viewers are in the extra [viewers]")
    read = plugin.napari_get_reader(str(mask))
    assert read is not None
    layers: list[tuple[Any, dict[str, Any], str]] = read(str(mask))
    data, options, _ = next(layer for layer in layers if layer[2] == "labels")
    finest = data[0] if isinstance(data, list) else data
    np.testing.assert_array_equal(np.asarray(finest).squeeze(), class_map(mask))
    placed = options["scale"][-2:] if "scale" in options else np.diag(np.asarray(options["affine"]))[-3:-1]
    assert placed == pytest.approx([MPP, MPP], rel=1e-3)
    colours: Any = options.get("colormap", options.get("color"))
    assert np.round(np.asarray(colours[1]) * 255).tolist() == [200, 0, 0, 255]
